/** Writes the wire surface of the generation in force: `node shared/tools/freeze-schema.ts`. When that is allowed stands in `wire-surface.test.ts`. */

import { writeFileSync } from 'node:fs'
import { tunnelGeneration } from '../src/tunnel/frame.ts'
import { wireSurface } from './wire-surface.ts'

const target = new URL(`../schema/gen-${tunnelGeneration}.json`, import.meta.url)
writeFileSync(target, `${JSON.stringify(wireSurface(), null, 2)}\n`)
