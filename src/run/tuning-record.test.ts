// Measured times as they are kept: what comes back, and what is not taken for one's own.
import { expect, it } from 'vitest'
import type { Candidate } from '../kernels/choose.ts'
import { TuningRecord } from './tuning-record.ts'

function candidate(variant: string, wgsl = `text of ${variant}`): Candidate {
  const kernel = { dispatches: [{ label: variant, wgsl, bindings: [], workgroups: [1, 2, 3] as const }], scratch: [16] }
  const choice = () => ({ variant, params: { tile: 4 }, cost: 1, kernel, prepared: () => undefined })
  return { variant, params: { tile: 4 }, cost: 1, choice, scratch: () => kernel.scratch }
}
const [a, b] = [candidate('a'), candidate('b')]
const request = 'matmul [1,2]'

function written(): string {
  const record = new TuningRecord('this device')
  record.add(request, a, 1234.4)
  record.add(request, b, Number.POSITIVE_INFINITY)
  return record.text()
}

function read(text: string, device = 'this device'): TuningRecord {
  const record = new TuningRecord(device)
  record.merge(text)
  return record
}

it('comes back as it was written', () => {
  const record = read(written())
  expect([...record.times(request, [a, b])]).toEqual([
    ['a {"tile":4}', 1234],
    ['b {"tile":4}', Number.POSITIVE_INFINITY],
  ])
  expect(record.text()).toBe(written())
  expect(record.times('matmul [1,3]', [a, b]).size).toBe(0)
})

it('holds for the very texts that were measured', () => {
  expect([
    ...read(written())
      .times(request, [candidate('a', 'another text'), b])
      .keys(),
  ]).toEqual(['b {"tile":4}'])
})

it('passes over what is broken, of another format or of another device', () => {
  const text = written()
  for (const other of [
    text.slice(0, -20),
    '',
    'null',
    '[]',
    '{"format":1}',
    text.replace('"format": 1', '"format": 2'),
  ])
    expect(read(other).times(request, [a, b]).size, other).toBe(0)
  expect(read(text, 'another device').times(request, [a, b]).size).toBe(0)
  const odd = text.replace('1234', '-3').replace('null', '"soon"')
  expect(read(odd).times(request, [a, b]).size).toBe(0)
})

it('takes over what others measured, and keeps what it measured itself', () => {
  const record = new TuningRecord('this device')
  record.add(request, a, 99)
  record.merge(written())
  expect([...record.times(request, [a, b]).values()]).toEqual([99, Number.POSITIVE_INFINITY])
})
