import { describe, expect, it } from 'vitest'
import { blocksOf, iiiSnippets } from './iii-snippets.ts'

describe('the blocks of the page on iii', () => {
  it('are found, each as what it is', async () => {
    const kinds = (await iiiSnippets()).map(({ kind }) => kind)
    const count = (wanted: string) => kinds.filter((kind) => kind === wanted).length
    const wanted = { program: 10, shell: 4, synopsis: 5, yaml: 2, error: 1 }
    expect(Object.fromEntries(Object.keys(wanted).map((kind) => [kind, count(kind)]))).toEqual(wanted)
  })

  it('end where their brackets close, whatever stands at the beginning of a line', () => {
    const text = 'try {\nconst a = f({\nb: 1,\n})\n} catch {\n}\nProse goes on.'
    expect(blocksOf(text.split('\n'))).toEqual([{ kind: 'program', text: text.slice(0, text.indexOf('\nProse')) }])
  })

  it('have the columns of YAML put back', () => {
    const lines = [
      'workers:',
      '- name: iii-sandbox',
      'config:',
      'image_allowlist:',
      '- my-app',
      'custom_images:',
      'my-app: a/b:1',
      'Once my-app is there',
    ]
    expect(blocksOf(lines)).toEqual([
      {
        kind: 'yaml',
        text: 'workers:\n  - name: iii-sandbox\n    config:\n      image_allowlist:\n        - my-app\n      custom_images:\n        my-app: a/b:1',
      },
    ])
  })
})
