/** Paths inside a sandbox: absolute, with single slashes. */

export interface Crumb {
  readonly name: string
  readonly path: string
}

export function joined(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`
}

/** The folders that lead to a path, the root first. */
export function crumbs(path: string): readonly Crumb[] {
  const parts = path.split('/').filter(Boolean)
  return [
    { name: '/', path: '/' },
    ...parts.map((name, index) => ({ name, path: `/${parts.slice(0, index + 1).join('/')}` })),
  ]
}

/** What somebody typed, as a path; a relative one begins in `folder`, and `..` leads up. */
export function resolved(folder: string, typed: string): string {
  const parts: string[] = []
  for (const part of (typed.startsWith('/') ? typed : `${folder}/${typed}`).split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}
