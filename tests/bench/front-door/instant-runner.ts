/**
 * A runner whose sandboxes answer at once, a process of its own: tunnel, calls and status are the runner's own, behind them no machine. So what a call
 * costs is what is in front of the machine. Takes the tunnel's URL as argument and its token by environment.
 */

import { daemonConfig, serveEngine } from '@portico/runner/daemon'
import type { Engine, EngineStatus } from '@portico/runner/engine'
import type { Usage } from '@portico/shared/usage'

const answer = Buffer.from(
  JSON.stringify({
    exit_code: 0,
    stdout: '',
    stderr: '',
    stdout_truncated: false,
    stderr_truncated: false,
    timed_out: false,
    duration_ms: 1,
  }),
)
const answered = {
  status: 200,
  headers: { 'content-type': 'application/json', 'content-length': String(answer.length) },
}

const sandboxes = new Map<string, EngineStatus['sandboxes'][number]>()
const usage = { uptime_ms: 0 } as Usage
const none = async (): Promise<never> => {
  throw new Error('this runner only creates sandboxes and answers their calls')
}

const engine: Engine = {
  create: async (sandbox, generation) => {
    sandboxes.set(sandbox, { sandbox, generation, state: 'running' })
    return { resolvedImage: 'python', createMs: 1 }
  },
  request: async (_id, _generation, { body }) => {
    if (body !== undefined && !(body instanceof Uint8Array)) for await (const _piece of body);
    return { ...answered, body: whole() }
  },
  connect: none,
  borrow: none,
  destroy: async (sandbox) => {
    sandboxes.delete(sandbox)
    return usage
  },
  stats: async () => usage,
  update: async () => undefined,
  deleteSnapshot: async () => undefined,
  fork: none,
  snapshot: none,
  restore: none,
  hibernate: none,
  resume: none,
  checkpoint: none,
  checkpoints: none,
  waitForCheckpoint: none,
  restoreCheckpoint: none,
  deleteCheckpoint: none,
  bringImage: none,
  images: {
    mustBePullable: () => undefined,
    pull: none,
    list: () => [],
    remove: none,
    figures: () => undefined,
  },
  imagesInUse: () => [],
  status: () => ({
    accelerator: 'tcg',
    draining: false,
    vcpus: 64,
    totalMemoryMib: 65_536,
    freeMemoryMib: 65_536,
    freeVcpus: 64,
    freeSlots: 64,
    load: 0,
    warm: {},
    ready: {},
    images: ['python'],
    policy: undefined,
    sandboxes: [...sandboxes.values()],
  }),
  onChange: () => () => undefined,
  onWarm: () => () => undefined,
  drain: () => undefined,
  close: async () => undefined,
}

const config = daemonConfig.parse({
  edgeUrl: process.argv[2],
  token: process.env.RUNNER_TOKEN,
  // Nothing is kept and nothing is started.
  stateDir: '/nonexistent',
  assets: '/nonexistent',
})

serveEngine(config, engine)
process.stdout.write('started\n')

async function* whole(): AsyncGenerator<Uint8Array> {
  yield answer
}
