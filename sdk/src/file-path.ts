/** How a file is named on the wire: as text, or in base64 where its name is not UTF-8. */

/** An absolute path: text, or its bytes where they are no UTF-8. */
export type FilePath = string | Uint8Array

/** @internal The query that names a file, and what else goes into it. */
export function pathQuery(path: FilePath, more: Readonly<Record<string, string | undefined>> = {}): string {
  const query = new URLSearchParams(named('path', path))
  for (const [name, value] of Object.entries(more)) if (value !== undefined) query.set(name, value)
  return String(query)
}

/** @internal The part of a body that names a file; `source` and `destination` are named as `path` is. */
export function named(name: 'path' | 'source' | 'destination', path: FilePath): Record<string, string> {
  return typeof path === 'string' ? { [name]: path } : { [`${name}_base64`]: base64(path) }
}

/** @internal A path as people read it. */
export function shown(path: FilePath): string {
  return typeof path === 'string' ? path : new TextDecoder().decode(path)
}

/** @internal The bytes of a name that is not UTF-8. */
export function bytesOf(base64Text: string | undefined): Uint8Array | undefined {
  if (base64Text === undefined) return undefined
  return Uint8Array.from(atob(base64Text), (character) => character.charCodeAt(0))
}

/** @internal Permission bits as the wire has them. */
export function octal(mode: number | undefined): string | undefined {
  return mode?.toString(8).padStart(3, '0')
}

/** @internal */
export function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}
