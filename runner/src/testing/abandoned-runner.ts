/** A runner for tests that is killed in the middle: opens an engine, creates one sandbox, says so and waits. Arguments: state folder, assets, id. */

import { openEngine } from '../engine.ts'

const [stateDir, assets, id = ''] = process.argv.slice(2)
const engine = await openEngine({ stateDir, assets, logLevel: 'silent', poolSize: 0 })
await engine.create(id, 1, {
  image: 'python',
  vcpus: 1,
  mem_mib: 256,
  disk_mib: 512,
  idle_timeout: 0,
  env: {},
  auto_resume: false,
  on_idle: 'destroy',
})
process.stdout.write('ready\n')
setInterval(() => undefined, 60_000)
