/** An image whose layers use everything that a layer may. */

import { imageOf, layerOf, type OciImage } from './image.ts'
import type { TarEntry } from './tar.ts'

const folder = (path: string, rest: Partial<TarEntry> = {}): TarEntry => ({ path, type: '5', ...rest })

/**
 * Three layers, of gzip, zstd and no compression. What has to be there in the end: `kept` (hard link of `also-kept`, made across layers), `opaque/new` and
 * nothing else in `opaque`, no `gone` and no `gone-folder`, `became-folder/in` where a file was, `labelled` with `user.note=hello` and `security.capability`,
 * `setuid` with mode 4755, `owned` of 1234:5678, `with space`, `with\nnewline`, `ünï`, a pipe, a device, `sticky` with 1777, a name of 200 letters, and
 * `via-link/file` that lies in `real`, because `via-link` is an absolute link to it.
 */
export async function oddImage(): Promise<OciImage> {
  const first = await layerOf([
    folder('./'),
    { path: 'kept', content: 'kept\n' },
    { path: 'gone', content: 'gone\n' },
    folder('gone-folder/'),
    { path: 'gone-folder/in', content: 'in\n' },
    folder('opaque/'),
    { path: 'opaque/old', content: 'old\n' },
    folder('opaque/old-folder/'),
    { path: 'became-folder', content: 'a file\n' },
    folder('real/'),
    { path: 'via-link', type: '2', link: '/real' },
    { path: 'owned', owner: [1234, 5678], content: 'owned\n' },
    { path: 'setuid', mode: 0o4755, content: 'setuid\n' },
    folder('sticky/', { mode: 0o1777 }),
  ])
  const second = await layerOf(
    [
      { path: '.wh.gone' },
      { path: '.wh.gone-folder' },
      folder('opaque/'),
      { path: 'opaque/.wh..wh..opq' },
      { path: 'opaque/new', content: 'new\n' },
      { path: '.wh.became-folder' },
      folder('became-folder/'),
      { path: 'became-folder/in', content: 'in\n' },
      { path: 'also-kept', type: '1', link: 'kept' },
      {
        path: 'labelled',
        content: 'labelled\n',
        attributes: { 'user.note': 'hello', 'security.capability': capability },
      },
    ],
    'zstd',
  )
  const third = await layerOf(
    [
      { path: 'with space', content: 'space\n' },
      { path: 'with\nnewline', content: 'newline\n' },
      { path: 'ünï', content: 'letters\n' },
      { path: 'n'.repeat(200), content: 'long\n' },
      { path: 'pipe', type: '6' },
      { path: 'device', type: '3', device: [1, 3], mode: 0o666 },
      { path: 'via-link/file', content: 'through the link\n' },
    ],
    'none',
  )
  return imageOf([first, second, third])
}

/** cap_net_raw+ep, as the kernel keeps it. */
const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')
