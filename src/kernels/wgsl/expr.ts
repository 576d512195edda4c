// Expression trees as WGSL over vec4<f32>: each shared node is named once, functions that WGSL lacks or may overflow are ours.
import type { Expr, UnaryFn } from '../../graph/expr.ts'
import { f32Text } from './number.ts'

/**
 * erf to 1.4e-7 absolute in f32 arithmetic (its rounding included; checked against f64 on 10^6 points).
 * |x| < 1: an odd polynomial, 1.9e-8. Beyond: 1 - exp(-x·q(x)) with q fitted to -ln(erfc(x))/x on [1, 4], 2.5e-9; erf(4) is
 * 1 in f32. Both are minimax fits (Lawson's iterated weights) made for this file.
 */
const erf = `fn erf4(x: vec4<f32>) -> vec4<f32> {
  let a = min(abs(x), vec4<f32>(4.0));
  let s = a * a;
  var p = vec4<f32>(-0.000546284660231322);
  p = p * s + 0.004870682954788208;
  p = p * s - 0.02666379138827324;
  p = p * s + 0.11278063803911209;
  p = p * s - 0.37611937522888184;
  p = p * s + 1.1283788681030273;
  var q = vec4<f32>(-0.00021018381812609732);
  q = q * a + 0.0031831322703510523;
  q = q * a - 0.022786136716604233;
  q = q * a + 0.10509674996137619;
  q = q * a + 0.6358463168144226;
  q = q * a + 1.128475546836853;
  let e = select(1.0 - exp(-(q * a)), p * a, a < vec4<f32>(1.0));
  return select(e, -e, x < vec4<f32>(0.0));
}
`

/** exp(80) is finite in f32, and sigmoid(-80) is far below what any sum keeps. */
const sigmoid = `fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-max(x, vec4<f32>(-80.0))));
}
`

/** tanh(10) is 1 in f32; implementations that form exp(2x) overflow for large x (WGSL permits it). */
const tanh = `fn tanh4(x: vec4<f32>) -> vec4<f32> {
  return tanh(clamp(x, vec4<f32>(-10.0), vec4<f32>(10.0)));
}
`

const functions: Partial<Record<UnaryFn, string>> = { erf, sigmoid, tanh }

const unaryText: Record<UnaryFn, (x: string) => string> = {
  neg: (x) => `(-${x})`,
  exp: (x) => `exp(${x})`,
  tanh: (x) => `tanh4(${x})`,
  erf: (x) => `erf4(${x})`,
  sigmoid: (x) => `sigmoid4(${x})`,
  sqrt: (x) => `sqrt(${x})`,
}

const infix = { add: '+', sub: '-', mul: '*', div: '/' } as const

/** How often each node of the trees is used, each node visited once. */
function countUses(exprs: readonly Expr[]): Map<Expr, number> {
  const uses = new Map<Expr, number>()
  const visit = (e: Expr) => {
    const known = uses.get(e) ?? 0
    uses.set(e, known + 1)
    if (known > 0) return
    if (e.kind === 'unary') visit(e.x)
    if (e.kind === 'binary') {
      visit(e.a)
      visit(e.b)
    }
  }
  for (const e of exprs) visit(e)
  return uses
}

/** The WGSL functions (erf4, sigmoid4, tanh4) that the trees call; once a module, for all its trees together. */
export function mathText(exprs: readonly Expr[]): string {
  const used = new Set<UnaryFn>()
  for (const e of countUses(exprs).keys()) if (e.kind === 'unary') used.add(e.fn)
  return [...used]
    .sort()
    .map((fn) => functions[fn] ?? '')
    .join('')
}

/** `fn name(x0: vec4<f32>, x1: …) -> vec4<f32>` that computes the tree of `inputCount` inputs. */
export function exprFunction(name: string, expr: Expr, inputCount: number): string {
  const uses = countUses([expr])
  const done = new Map<Expr, string>()
  const lets: string[] = []
  const print = (e: Expr): string => {
    const known = done.get(e)
    if (known !== undefined) return known
    let text: string
    switch (e.kind) {
      case 'input':
        text = `x${e.index}`
        break
      case 'const':
        text = `vec4<f32>(${f32Text(e.value)})`
        break
      case 'unary':
        text = unaryText[e.fn](print(e.x))
        break
      case 'binary': {
        const [a, b] = [print(e.a), print(e.b)]
        text = e.fn === 'min' || e.fn === 'max' ? `${e.fn}(${a}, ${b})` : `(${a} ${infix[e.fn]} ${b})`
        break
      }
    }
    if (uses.get(e)! > 1 && (e.kind === 'unary' || e.kind === 'binary')) {
      lets.push(`  let t${lets.length} = ${text};\n`)
      text = `t${lets.length - 1}`
    }
    done.set(e, text)
    return text
  }
  const result = print(expr)
  const parameters = Array.from({ length: inputCount }, (_, i) => `x${i}: vec4<f32>`).join(', ')
  return `fn ${name}(${parameters}) -> vec4<f32> {\n${lets.join('')}  return ${result};\n}\n`
}
