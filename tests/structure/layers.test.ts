import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '@portico/deploy/checkout'
import { describe, expect, it } from 'vitest'
import { layers } from './layers.ts'

/** Source files of a part, its tests left out: they may reach for what they test with. */
async function sources(part: string): Promise<string[]> {
  const found: string[] = []
  for await (const file of glob('**/*.{ts,tsx}', {
    cwd: join(root, part),
    exclude: (name) => ['node_modules', 'dist', 'setup'].includes(name),
  })) {
    if (!/\.(test|vm\.test)\.ts$|(^|\/)(conformance|test)[/.]|vitest\.config/.test(file))
      found.push(join(root, part, file))
  }
  return found
}

function imports(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '')
}

describe.each(layers)('$part', ({ part, may, never }) => {
  it('imports only what its row allows', async () => {
    const files = await sources(part)
    expect(files.length).toBeGreaterThan(0)
    const wrong: string[] = []
    for (const file of files) {
      for (const name of imports(await readFile(file, 'utf8'))) {
        const allowed = may.some((allow) => name === allow || name.startsWith(`${allow}/`))
        const ours = name.startsWith('@portico/') && !allowed
        const outside = name.startsWith('.') && !join(file, '..', name).startsWith(join(root, part.split('/')[0] ?? ''))
        const forbidden = never.some((prefix) => name.startsWith(prefix)) && !allowed
        if (ours || outside || forbidden) wrong.push(`${file.slice(root.length + 1)}: ${name}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('stands in docs/architecture.md as it stands here', async () => {
    const page = await readFile(join(root, 'docs', 'architecture.md'), 'utf8')
    const names = (list: readonly string[]) =>
      list.length === 0 ? 'nothing of ours' : list.map((name) => `\`${name}\``).join(', ')
    expect(page).toContain(`| \`${part}\` | ${names(may)} | ${names(never)} |`)
  })
})
