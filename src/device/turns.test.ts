import { describe, expect, it } from 'vitest'
import { inTurns } from './turns.ts'

describe('inTurns', () => {
  it('runs so many at once, in order, each as soon as another ends', async () => {
    const turn = inTurns(2)
    const events: string[] = []
    const ends = new Map<string, () => void>()
    const task = (name: string) =>
      turn(async () => {
        events.push(`${name} begins`)
        await new Promise<void>((end) => ends.set(name, end))
        events.push(`${name} ends`)
        return name
      })
    const all = ['a', 'b', 'c', 'd'].map(task)
    await settled()
    expect(events).toEqual(['a begins', 'b begins'])
    ends.get('b')!()
    await settled()
    expect(events.slice(2)).toEqual(['b ends', 'c begins'])
    ends.get('a')!()
    ends.get('c')!()
    await settled()
    ends.get('d')!()
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd'])
    expect(events.slice(4)).toEqual(['a ends', 'c ends', 'd begins', 'd ends'])
  })

  it('goes on after a task that fails', async () => {
    const turn = inTurns(1)
    const failing = turn(async () => {
      throw new Error('no')
    })
    const next = turn(async () => 'yes')
    await expect(failing).rejects.toThrow('no')
    expect(await next).toBe('yes')
  })
})

/** Everything that can run has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
