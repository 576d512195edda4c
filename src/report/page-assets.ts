// Style and script of the HTML report.

export const pageStyle = `
:root { color-scheme: light dark; --ground: #fff; --raised: #f6f8fa; --text: #1f2328; --faint: #59636e; --line: #d1d9e0;
  --conv2d: #0b6bcb; --matmul: #1a7f5a; --attention: #b3367f; --groupNorm: #c27a00; --layerNorm: #8a6d00; --concat: #6a5acd;
  --pointwise: #c8452f; --other: #8b949e; --bar: #bcd7f3; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --raised: #161b22; --text: #e6edf3; --faint: #9198a1; --line: #30363d;
  --conv2d: #4493f8; --matmul: #3fb68b; --attention: #e275b4; --groupNorm: #e3a44a; --layerNorm: #c9b458; --concat: #a89cf2;
  --pointwise: #f0806c; --other: #6e7681; --bar: #1f4a7a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1220px; background: var(--ground); color: var(--text); font: 14px/1.5 system-ui, sans-serif; }
header { position: sticky; top: 0; padding: 8px 0; background: var(--ground); border-bottom: 1px solid var(--line); z-index: 1; }
h1 { font-size: 20px; margin: 0; } h2 { font-size: 18px; margin: 40px 0 0; } h3 { font-size: 15px; margin: 24px 0 8px; } p { margin: 4px 0 8px; }
input { width: 100%; padding: 6px 10px; font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line); border-radius: 6px; }
dl { display: flex; flex-wrap: wrap; gap: 8px; margin: 12px 0; } dl div { padding: 6px 12px; background: var(--raised); border-radius: 6px; }
dt { color: var(--faint); font-size: 12px; } dd { margin: 0; font-weight: 600; }
.faint { color: var(--faint); } .wide { overflow-x: auto; } .one-line { white-space: nowrap; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); } th { color: var(--faint); font-weight: 500; }
.bar { position: relative; display: block; min-width: 120px; } .bar i { position: absolute; inset: 2px auto 2px 0; background: var(--bar); border-radius: 3px; } .bar span { position: relative; padding-left: 4px; }
svg { display: block; } svg text { fill: var(--faint); font-size: 11px; } .grid { stroke: var(--line); stroke-width: .5; }
svg rect { stroke: var(--ground); stroke-width: .4; } svg rect:hover { stroke: var(--text); stroke-width: 1.5; }
.alive { fill: var(--other); stroke-width: 0; } .alive.peak { fill: var(--pointwise); } .peak-line { stroke: var(--pointwise); stroke-dasharray: 3 3; pointer-events: none; }
${['conv2d', 'matmul', 'attention', 'groupNorm', 'layerNorm', 'concat', 'pointwise', 'other'].map((name) => `.${name} { fill: var(--${name}); background: var(--${name}); }`).join(' ')}
.legend { color: var(--faint); } .key { margin-right: 12px; } .key i { display: inline-block; width: 10px; height: 10px; margin-right: 4px; border-radius: 2px; }
.searching rect:not(.found) { opacity: .12; } .searching tr[data-search]:not(.found) { display: none; }
#tip { position: fixed; max-width: 480px; padding: 6px 10px; white-space: pre-line; pointer-events: none; background: var(--text); color: var(--ground); border-radius: 6px; font-size: 12px; z-index: 2; }
`

export const pageScript = `
const tip = document.getElementById('tip')
document.addEventListener('pointermove', (event) => {
  const about = event.target.closest('[data-tip]')
  tip.hidden = !about
  if (!about) return
  tip.textContent = about.dataset.tip
  const { width, height } = tip.getBoundingClientRect()
  tip.style.left = Math.min(event.clientX + 14, innerWidth - width - 8) + 'px'
  tip.style.top = (event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18) + 'px'
})
document.querySelector('input').addEventListener('input', ({ target }) => {
  const wanted = target.value.trim().toLowerCase()
  document.body.classList.toggle('searching', wanted !== '')
  for (const each of document.querySelectorAll('[data-search]'))
    each.classList.toggle('found', each.dataset.search.toLowerCase().includes(wanted))
})
`
