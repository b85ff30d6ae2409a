/** Writes the Go constants of the protocol: `node shared/tools/generate-go.ts`. Running it twice gives the same file. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { goSource } from './go-source.ts'

const target = fileURLToPath(new URL('../../guest-agent/internal/proto/generated.go', import.meta.url))
mkdirSync(dirname(target), { recursive: true })
writeFileSync(target, goSource())
