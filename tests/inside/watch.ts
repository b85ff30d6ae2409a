/** A watch that is told every change of a `git clone`: what was told, replayed, is what a walk finds afterwards. */

import type { WatchEvent } from '@portico/shared/api'
import { type InsideClient, Watching } from '../kit/inside-client.ts'
import { exactly, type Finding, type Proof, type Scene, told, withSandbox } from './proof.ts'

const commits = 20
const folder = '/root/work'

/** A repository with some hundred files in nested directories, changed by several commits. */
const prepare = [
  'set -e; export HOME=/root; git config --global user.email test@example.com; git config --global user.name test',
  'git config --global init.defaultBranch main; mkdir -p /root/origin; cd /root/origin; git init -q',
  `for c in $(seq ${commits}); do for d in a b/c b/d/e f; do mkdir -p $d/$c; for f in 1 2 3 4 5; do echo "$c $d $f" >$d/$c/file-$f; done; done; git add -A; git commit -qm "$c"; done`,
  `mkdir -p ${folder}`,
].join('; ')

export const watch: Proof = {
  name: 'watch',
  run: (scene) => withSandbox(scene, { image: 'python' }, (client) => cloneWatched(client, scene)),
}

async function cloneWatched(client: InsideClient, { say }: Scene): Promise<Finding[]> {
  await client.shell(prepare)
  using watching = await Watching.open(client, folder, true)
  await client.shell(`git clone -q /root/origin ${folder}/clone`)
  await client.shell(`touch ${folder}/over`)
  await watching.until((seen) => seen.some(({ path }) => path === `${folder}/over`), 60_000)
  say(`${watching.seen.length} events`)
  const walked = (await client.shell(`find ${folder} -mindepth 1 -printf '%y %p\\n'`)).trim().split('\n').sort()
  const replayed = replay(watching.seen)
  const missing = walked.filter((line) => !replayed.has(line))
  const beyond = [...replayed].filter((line) => !walked.includes(line))
  const files = walked.filter((line) => line.startsWith('f '))
  return [
    told('the clone', `${files.length} files, ${walked.length - files.length} directories`),
    told('events', `${watching.seen.length}`),
    exactly('overflows', watching.seen.filter(({ type }) => type === 'overflow').length, 0),
    exactly('of a walk afterwards, not told', `${missing.length} ${missing.slice(0, 3).join(' ')}`.trim(), '0'),
    exactly('told, but not there', `${beyond.length} ${beyond.slice(0, 3).join(' ')}`.trim(), '0'),
  ]
}

/** What is there after all that was told, each with `d` or `f`. */
export function replay(events: readonly WatchEvent[]): Set<string> {
  const there = new Map<string, string>()
  const below = (path: string) => [...there.keys()].filter((each) => each === path || each.startsWith(`${path}/`))
  for (const { type, path = '', to = '', is_dir = false } of events) {
    if (type === 'create') there.set(path, is_dir ? 'd' : 'f')
    if (type === 'delete') for (const each of below(path)) there.delete(each)
    if (type !== 'move') continue
    const moved = below(path).map((each) => [each, there.get(each) ?? 'f'] as const)
    for (const [each, kind] of moved) {
      there.delete(each)
      there.set(to + each.slice(path.length), kind)
    }
    if (moved.length === 0) there.set(to, is_dir ? 'd' : 'f')
  }
  return new Set([...there].map(([path, kind]) => `${kind} ${path}`))
}
