/** Writes tars, also such as no tar program would: any path, any owner, any type. */

export interface TarEntry {
  readonly path: string
  /** As tar calls them: 0 file, 1 hard link, 2 symbolic link, 3 and 4 devices, 5 folder, 6 pipe. */
  readonly type?: '0' | '1' | '2' | '3' | '4' | '5' | '6' | 'S'
  readonly mode?: number
  readonly owner?: readonly [number, number]
  readonly link?: string
  readonly content?: Uint8Array | string
  readonly device?: readonly [number, number]
  readonly attributes?: Readonly<Record<string, Uint8Array | string>>
  readonly modified?: number
  /** What the header says the size is, where it lies. */
  readonly claims?: number
}

const block = 512

/** The bytes of a tar with these entries. */
export function* tarOf(entries: Iterable<TarEntry>): Generator<Uint8Array> {
  for (const entry of entries) yield* entryOf(entry)
  yield new Uint8Array(2 * block)
}

function* entryOf(entry: TarEntry): Generator<Uint8Array> {
  const { path, link = '', attributes = {} } = entry
  const records: [string, Uint8Array][] = Object.entries(attributes).map(([name, value]) => [
    `SCHILY.xattr.${name}`,
    Buffer.from(value),
  ])
  if (Buffer.byteLength(path) > 100 || /[^\x20-\x7e]/.test(path)) records.push(['path', Buffer.from(path)])
  if (Buffer.byteLength(link) > 100 || /[^\x20-\x7e]/.test(link)) records.push(['linkpath', Buffer.from(link)])
  if (records.length > 0) {
    const body = Buffer.concat(records.map(([key, value]) => recordOf(key, value)))
    yield headerOf({ path: 'pax', type: 'x' as '0', content: body })
    yield* padded(body)
  }
  yield headerOf(entry)
  yield* padded(Buffer.from(entry.content ?? ''))
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits. */
function recordOf(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  let length = rest.length
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

function headerOf(entry: TarEntry): Uint8Array {
  const { path, type = '0', mode = type === '5' ? 0o755 : 0o644, owner = [0, 0], link = '', device = [0, 0] } = entry
  const header = Buffer.alloc(block)
  const octal = (value: number, at: number, size: number) => header.write(value.toString(8).padStart(size - 1, '0'), at)
  header.write(path.replaceAll(/[^\x20-\x7e]/g, '_').slice(0, 100), 0)
  octal(mode, 100, 8)
  octal(owner[0], 108, 8)
  octal(owner[1], 116, 8)
  octal(entry.claims ?? Buffer.byteLength(entry.content ?? ''), 124, 12)
  octal(entry.modified ?? 1_700_000_000, 136, 12)
  header.fill(' ', 148, 156)
  header.write(type, 156)
  header.write(link.slice(0, 100), 157)
  header.write('ustar\x0000', 257)
  octal(device[0], 329, 8)
  octal(device[1], 337, 8)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

function* padded(content: Uint8Array): Generator<Uint8Array> {
  if (content.length === 0) return
  yield content
  if (content.length % block !== 0) yield new Uint8Array(block - (content.length % block))
}
