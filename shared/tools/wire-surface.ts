/** The wire surface of the generation in force, as data: frames, their limits, heads between edge and runner, bodies of the agent, error codes. Pure. */

import { z } from 'zod'
import { acknowledged, answers, edgeCall, runnerCall } from '../src/control/index.ts'
import { describe, errorCodes } from '../src/errors.ts'
import { guestError, guestExecResponse, guestFileList, health, identityConfirmed } from '../src/guest/index.ts'
import * as frame from '../src/tunnel/frame.ts'
import * as limits from '../src/tunnel/limits.ts'

/** What only this side's own patience decides, and no peer relies on. */
const privateLimits = new Set(['defaultWindow', 'maxBacklog', 'preambleWaitMs'])

function frames(): object {
  const types = Object.entries(frame.frameType).map(([name, type]) => [
    name,
    { type, least: limits.minPayload(type), most: limits.maxPayload(type) },
  ])
  return { header: limits.headerLength, firstExtension: frame.firstExtension, types: Object.fromEntries(types) }
}

function numbers(): object {
  const rows = Object.entries(limits).filter(([name, value]) => typeof value === 'number' && !privateLimits.has(name))
  return Object.fromEntries(rows)
}

function schemas(named: Readonly<Record<string, z.ZodType>>): object {
  const rows = Object.entries(named).map(([name, schema]) => [name, z.toJSONSchema(schema, { io: 'input' })])
  return Object.fromEntries(rows)
}

/** What `schema/gen-N.json` freezes. */
export function wireSurface(): object {
  return {
    generation: { tunnel: frame.tunnelGeneration, guest: frame.generation },
    frames: frames(),
    limits: numbers(),
    heads: {
      fromEdge: schemas({ edgeCall }),
      fromRunner: schemas({ runnerCall }),
      answers: schemas({ ...answers, acknowledged }),
    },
    guest: schemas({ health, identityConfirmed, guestExecResponse, guestFileList, guestError }),
    errors: Object.fromEntries(errorCodes.map((code) => [code, describe(code).status])),
  }
}
