/** How one part finds another: each object by the name of what it owns. The one place where a stub gets its type. */

import type { Env } from '../env.ts'
import type { AccountPort, DirectoryPort, Objects, RegionPort, RunnerPort, SandboxPort } from '../ports.ts'

/** The objects of an environment. */
export function objectsOf(env: Env): Objects {
  return {
    sandbox: (id) => stub<SandboxPort>(env.SANDBOXES, id),
    account: (id) => stub<AccountPort>(env.ACCOUNTS, id),
    region: (name) => stub<RegionPort>(env.REGIONS, name),
    runner: (id) => stub<RunnerPort>(env.RUNNERS, id),
    directory: () => stub<DirectoryPort>(env.DIRECTORY, 'directory'),
  }
}

/** The runner's object as a server of HTTP requests: tunnels and guest requests. */
export function runnerFetcher(env: Env, id: string): Fetcher {
  return env.RUNNERS.get(env.RUNNERS.idFromName(id))
}

function stub<Port>(namespace: DurableObjectNamespace, name: string): Port {
  return namespace.get(namespace.idFromName(name)) as unknown as Port
}
