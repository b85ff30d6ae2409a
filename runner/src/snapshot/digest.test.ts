import { createHash } from 'node:crypto'
import { mkdtemp, open, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { chunkBytes } from './chunk.ts'
import { fileDigest, TreeDigest } from './digest.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-digest-'))
})
afterAll(() => rm(folder, { recursive: true }))

const sha = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()

it('is the digest of the digests of its chunks', async () => {
  const file = join(folder, 'a')
  const bytes = Buffer.alloc(2 * chunkBytes + 7, 3)
  bytes.fill(0, chunkBytes, 2 * chunkBytes)
  await writeFile(file, bytes)
  const parts = [0, 1, 2].map((turn) => sha(bytes.subarray(turn * chunkBytes, (turn + 1) * chunkBytes)))
  expect(await fileDigest(file)).toBe(sha(...parts).toString('hex'))
})

it('differs with every bit and with the length', async () => {
  const file = join(folder, 'b')
  const bytes = Buffer.alloc(chunkBytes + 1, 1)
  await writeFile(file, bytes)
  const before = await fileDigest(file)
  await truncate(file, chunkBytes)
  expect(await fileDigest(file)).not.toBe(before)
  bytes[chunkBytes] = 0
  await writeFile(file, bytes)
  expect(await fileDigest(file)).not.toBe(before)
})

it('is the same for a sparse file, whose holes are not read, and for one that is written out', async () => {
  const [sparse, full] = [join(folder, 'sparse'), join(folder, 'full')]
  const data = Buffer.alloc(3 * 4096, 7)
  const size = 20 * chunkBytes + 5
  for (const file of [sparse, full]) await writeFile(file, '')
  await truncate(sparse, size)
  await writeFile(full, Buffer.alloc(size))
  for (const file of [sparse, full]) {
    const handle = await open(file, 'r+')
    await handle.write(data, 0, data.length, 3 * chunkBytes - 4096)
    await handle.close()
  }
  expect((await stat(sparse)).blocks).toBeLessThan((await stat(full)).blocks / 100)
  expect(await fileDigest(sparse)).toBe(await fileDigest(full))
})

it('knows an empty file', async () => {
  await writeFile(join(folder, 'c'), '')
  expect(await fileDigest(join(folder, 'c'))).toBe(sha().toString('hex'))
})

it('takes no chunk after a short one, as the digest would depend on how a file was read', async () => {
  const digest = new TreeDigest()
  await digest.add(Buffer.alloc(5))
  await expect(digest.add(Buffer.alloc(5))).rejects.toThrow('wrong size')
})
