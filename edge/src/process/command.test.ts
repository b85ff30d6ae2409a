import { expect, it } from 'vitest'
import { commandRequest, execCommand } from './command.ts'

const asked = (body: object) => execCommand(commandRequest.parse(body))

it.each([
  [{ command: 'echo hi' }, { shell: 'echo hi' }],
  [{ command: ['echo', 'hi'] }, { argv: ['echo', 'hi'] }],
  [{ entrypoint: true }, { entrypoint: true }],
  [
    { entrypoint: true, args: [] },
    { entrypoint: true, args: [] },
  ],
  [
    { entrypoint: true, args: ['a'] },
    { entrypoint: true, args: ['a'] },
  ],
])('asks the agent for %j as %j', (body, words) => {
  expect(asked(body)).toEqual({ ...words, timeout_ms: 30_000 })
})

it.each([{}, { entrypoint: false }, { entrypoint: true, command: 'a' }, { command: 'a', args: ['b'] }])(
  'refuses %j: it is either a command, or the entrypoint with its arguments',
  (body) => {
    expect(commandRequest.safeParse(body).success).toBe(false)
  },
)
