/**
 * A whole runner on fake machines, as a process of its own: `node fake-runner.ts EDGE_URL TOKEN STATE_FOLDER [SETTINGS]`. The settings are more of its
 * configuration, as JSON. It runs until SIGTERM or SIGINT.
 */

import { join } from 'node:path'
import { daemonConfig, parseConfig } from '../config.ts'
import { startDaemon } from '../daemon.ts'
import { createLog } from '../log.ts'
import { FakeDriver } from '../vm/fake/index.ts'

const [edgeUrl, token, stateDir = '', settings = '{}'] = process.argv.slice(2)
const log = createLog('info')
const config = parseConfig(daemonConfig, {
  edgeUrl,
  token,
  stateDir,
  assets: join(stateDir, 'assets.json'),
  maxSandboxes: 16,
  memoryMib: 8192,
  poolSize: 0,
  ...(JSON.parse(settings) as object),
})
const daemon = await startDaemon(config, { driver: new FakeDriver(), log })
log.info({ outcome: 'ok' }, 'runner.start')
await new Promise<void>((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
})
await daemon.stop(AbortSignal.timeout(5000))
