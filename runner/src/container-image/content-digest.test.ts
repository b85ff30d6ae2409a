import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { expect, it } from 'vitest'
import { contentDigest } from './content-digest.ts'

const never = new AbortController().signal

function image(digest: string, ofLayers: boolean) {
  let opened = 0
  const content = Buffer.from('a file system')
  const open = async () => {
    opened++
    return { size: content.length, content: Readable.from([content]) }
  }
  return { image: { digest, ofLayers, env: {}, workdir: '/', open }, opened: () => opened }
}

it("is a preset's own", async () => {
  const preset = image('sha256:preset', false)
  expect([await contentDigest(preset.image, never), preset.opened()]).toEqual(['sha256:preset', 0])
})

it('is read once from a file whose name is of its layers', async () => {
  const { image: pulled, opened } = image('sha256:layers', true)
  const whole = `sha256:${createHash('sha256').update('a file system').digest('hex')}`
  expect(await Promise.all([contentDigest(pulled, never), contentDigest(pulled, never)])).toEqual([whole, whole])
  expect([await contentDigest(pulled, never), opened()]).toEqual([whole, 1])
})
