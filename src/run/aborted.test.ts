import { describe, expect, it } from 'vitest'
import { unlessAborted } from './aborted.ts'

describe('unlessAborted', () => {
  it('gives what the promise gives, with a signal and without', async () => {
    const { signal } = new AbortController()
    expect(await unlessAborted(Promise.resolve(1), signal)).toBe(1)
    expect(await unlessAborted(Promise.resolve(2), undefined)).toBe(2)
    await expect(unlessAborted(Promise.reject(new Error('no')), signal)).rejects.toThrow('no')
  })

  it('waits no longer once the signal fires, whatever becomes of the promise', async () => {
    const stop = new AbortController()
    let fail = (_: Error) => {}
    const slow = new Promise<never>((_, reject) => {
      fail = reject
    })
    const waiting = unlessAborted(slow, stop.signal)
    stop.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' })
    await expect(unlessAborted(slow, stop.signal)).rejects.toMatchObject({ code: 'aborted' })
    fail(new Error('heard by nobody'))
    await new Promise((resolve) => setImmediate(resolve))
  })
})
