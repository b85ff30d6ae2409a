/** What stands behind the look at the layers: programs that go wrong are ended, whatever made them. */

import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tarOf } from '../../../tests/kit/oci-images/tar.ts'
import { writeLayout } from './layout.ts'
import { openLayers } from './open-layers.ts'
import { hexOf, type StepOptions } from './step.ts'
import { imageTools } from './tools.ts'
import { unpackLayers } from './unpack.ts'

const limits = { imageBytes: 1 << 20, freeBytes: 1 << 30, freeInodes: 1e6 }
let folder: string
let options: StepOptions

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-unpack-'))
  const signal = new AbortController().signal
  options = { tools: imageTools, what: 'one:1', folder, signal, onBytes: () => undefined }
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('a file that grows beyond all content ends the unpacking', async () => {
  const size = 64 << 20
  const content = [
    record('GNU.sparse.major', '1'),
    record('GNU.sparse.minor', '0'),
    record('GNU.sparse.name', 'bomb'),
    record('GNU.sparse.realsize', String(size)),
  ].join('')
  const map = `${'1\n0\n512\n'.padEnd(512, '\0')}${'A'.repeat(512)}`
  const tar = Buffer.concat([
    ...tarOf([
      { path: 'pax', type: 'x' as '0', content },
      { path: 'bomb', content: map },
    ]),
  ])
  const digest = sha256Of(tar)
  await mkdir(join(folder, 'oci', 'blobs', 'sha256'), { recursive: true })
  await writeFile(join(folder, 'oci', 'blobs', 'sha256', hexOf(digest)), tar)
  await writeLayout(join(folder, 'oci'), [digest], [tar.length])
  await expect(unpackLayers(options, 1024, 0)).rejects.toMatchObject({
    code: 'image_unsuitable',
    cause: expect.stringContaining('file too large'),
  })
})

test('a disk that fills up while layers are unpacked ends it', async () => {
  const bwrap = await program('exec sleep 60')
  const unpacked = unpackLayers({ ...options, tools: { ...imageTools, bwrap } }, 1024, Number.MAX_SAFE_INTEGER)
  await expect(unpacked).rejects.toMatchObject({ code: 'image_no_space' })
})

test('a line that is no answer fails the pull and nothing else', async () => {
  for (const line of ['no JSON', '{"sizes":"many"}', 'null', '{"doneBytes":1}']) {
    const bwrap = await program(`echo '${line}'`)
    const opened = openLayers({ ...options, tools: { ...imageTools, bwrap } }, manifestOf([]), [], limits)
    await expect(opened, line).rejects.toMatchObject({ code: 'internal' })
  }
})

test('layers that are headers alone are too large together, though none of them is', async () => {
  const entry = { path: 'pax', type: 'x' as '0', content: record('comment', 'x'.repeat((1 << 20) - 100)) }
  const tar = Buffer.concat([...tarOf(Array.from({ length: 40 }, () => entry))])
  const digest = sha256Of(tar)
  await mkdir(join(folder, 'download'))
  await writeFile(join(folder, 'download', hexOf(digest)), tar)
  const layer = { digest, size: tar.length }
  await expect(openLayers(options, manifestOf([layer, layer]), [digest, digest], limits)).rejects.toMatchObject({
    code: 'image_unsuitable',
    message: expect.stringContaining('the limit of an image'),
  })
  const one = await openLayers(options, manifestOf([layer]), [digest], limits)
  expect([one.bytes, await readdir(folder)]).toEqual([0, ['oci']])
})

function sha256Of(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function manifestOf(layers: readonly { digest: string; size: number }[]) {
  return { layers, configDigest: '', bytes: 100 }
}

async function program(script: string): Promise<string> {
  const file = join(folder, 'program')
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
  return file
}

function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return `${length}${rest}`
}
