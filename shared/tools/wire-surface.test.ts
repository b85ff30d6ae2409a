import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { oldestGeneration, tunnelGeneration } from '../src/tunnel/frame.ts'
import { wireSurface } from './wire-surface.ts'

const folder = new URL('../schema/', import.meta.url)
const frozen = (name: string) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as unknown

const advice = `
The wire surface is not what schema/gen-${tunnelGeneration}.json freezes. A peer of this generation may be older or newer than this code.
- An optional field, a new op or a new error code: peers that do not know it ignore it or refuse it. Check that they do, then run
  node shared/tools/freeze-schema.ts
- A field that becomes required, changes its meaning or goes away, or a limit that shrinks: raise \`tunnelGeneration\` (or
  \`generation\`, where it is the agent's) in src/tunnel/frame.ts,
  ask for the peer's generation before the new form is sent, keep the old file, and freeze the new one.
- Frame types and the header never change.`

test('the wire surface is the one that is frozen', () => {
  // Compared as JSON, as a field that is undefined is no field.
  expect(JSON.parse(JSON.stringify(wireSurface())), advice).toEqual(frozen(`gen-${tunnelGeneration}.json`))
})

test('every generation that is still spoken has its file', () => {
  const spoken = Array.from(
    { length: tunnelGeneration - oldestGeneration + 1 },
    (_, index) => `gen-${oldestGeneration + index}.json`,
  )
  expect(readdirSync(folder)).toEqual(expect.arrayContaining(spoken))
})
