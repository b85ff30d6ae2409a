import { expect, it } from 'vitest'
import type { StoredImage } from '../image/store.ts'
import { fileOf } from '../policy/open.ts'
import { FakeDriver } from '../vm/fake/index.ts'
import { templateKey } from './key.ts'

const digest = `sha256:${'a'.repeat(64)}`
const name = `docker.io/library/app@${digest}`

it('is another one for a file that was made anew of the same layers', () => {
  expect(keyOf('sha256:first')).not.toBe(keyOf('sha256:second'))
  expect(keyOf('sha256:first')).toBe(keyOf('sha256:first'))
})

function keyOf(fileDigest: string): string {
  const config = { env: {}, workdir: '/', user: '', entrypoint: [], cmd: [] }
  const files = { sizeBytes: 5, fileDigest, rootfs: 'sha256:layers', erofs: '/nowhere/app.erofs' }
  const image: StoredImage = { name, reference: 'app:1', references: ['app:1'], digest, config, ...files }
  const driver = new FakeDriver({ folder: '/nowhere' })
  driver.images.addSource((asked) => fileOf(image, asked))
  return templateKey(driver, { image: name, vcpus: 1, memoryMib: 256, diskMib: 64 })
}
