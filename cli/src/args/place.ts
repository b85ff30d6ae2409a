/** Where `portico cp` copies from or to: `ID:/path` in a sandbox, `-` for our streams, else a path here (`./a:b` where it has a colon). */

export type Place =
  | { readonly where: 'sandbox'; readonly id: string; readonly path: string }
  | { readonly where: 'here'; readonly path: string }
  | { readonly where: 'stream' }

export function place(text: string): Place {
  if (text === '-') return { where: 'stream' }
  const [, id, path] = /^([^/:.][^/:]*):(\/.*)$/s.exec(text) ?? []
  return id === undefined || path === undefined ? { where: 'here', path: text } : { where: 'sandbox', id, path }
}
