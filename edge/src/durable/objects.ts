/** How one part finds another: each object by the name of what it owns. The one place where a stub gets its type. */

import { type Env, locationHint } from '../env.ts'
import { objectName } from '../iii/join.ts'
import type {
  AccountPort,
  Caller,
  ConsolePort,
  DirectoryPort,
  ImagePort,
  KeyringPort,
  Objects,
  RegionPort,
  RunnerPort,
  SandboxPort,
} from '../ports.ts'

/** The objects of an environment. */
export function objectsOf(env: Env): Objects {
  return {
    sandbox: (id, region) => stub<SandboxPort>(env.SANDBOXES, id, hintOf(env, region)),
    account: (id) => stub<AccountPort>(env.ACCOUNTS, id),
    region: (name) => stub<RegionPort>(env.REGIONS, name, hintOf(env, name)),
    runner: (id) => stub<RunnerPort>(env.RUNNERS, id),
    console: (id) => stub<ConsolePort>(env.CONSOLES, id),
    directory: () => stub<DirectoryPort>(env.DIRECTORY, 'directory'),
    image: (id, region) => stub<ImagePort>(env.IMAGES, id, hintOf(env, region)),
    keyring: () => stub<KeyringPort>(env.KEYRING, 'keyring'),
  }
}

/** The runner's object as a server of HTTP requests: tunnels, guest requests and requests for ports. */
export function runnerFetcher(env: Env, id: string, region?: string): Fetcher {
  return env.RUNNERS.get(env.RUNNERS.idFromName(id), hintOf(env, region))
}

/** An image's object as a server of its events. */
export function imageFetcher(env: Env, id: string): Fetcher {
  return env.IMAGES.get(env.IMAGES.idFromName(id))
}

/** A console's object as a server of sockets. */
export function consoleFetcher(env: Env, id: string): Fetcher {
  return env.CONSOLES.get(env.CONSOLES.idFromName(id))
}

/** The object of an account's workers, as a server of sockets. */
export function iiiFetcher(env: Env, caller: Caller): Fetcher {
  return env.III.get(env.III.idFromName(objectName(caller)), hintOf(env, caller.region))
}

function stub<Port>(
  namespace: DurableObjectNamespace,
  name: string,
  hint?: DurableObjectNamespaceGetDurableObjectOptions,
): Port {
  return namespace.get(namespace.idFromName(name), hint) as unknown as Port
}

/** An object is made where its first call says; later calls need not say it. */
function hintOf(env: Env, region: string | undefined): DurableObjectNamespaceGetDurableObjectOptions {
  const hint = region === undefined ? undefined : locationHint(env, region)
  return hint === undefined ? {} : { locationHint: hint }
}
