import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { errorCodes } from '../src/errors.ts'
import { frameType } from '../src/tunnel/frame.ts'
import { goSource } from './go-source.ts'

const committed = new URL('../../guest-agent/internal/proto/generated.go', import.meta.url)

describe('the Go constants', () => {
  test('in the agent are those of this folder', () => {
    expect(goSource(), 'Run: node shared/tools/generate-go.ts').toBe(readFileSync(committed, 'utf8'))
  })

  test('are the same each time', () => {
    expect(goSource()).toBe(goSource())
  })

  test('hold every frame type and every error code once', () => {
    const source = goSource()
    const names = [...source.matchAll(/^\t([A-Z]\w*) += /gm)].map(([, name]) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(names.filter((name) => name?.startsWith('Type'))).toHaveLength(Object.keys(frameType).length)
    expect(names.filter((name) => name?.startsWith('Code'))).toHaveLength(errorCodes.length)
    for (const code of errorCodes) expect(source).toContain(` = "${code}"\n`)
  })
})
