/** The Worker's entry: the app, and the classes of the objects. Nothing else. */

import { buildApp } from './app.ts'

export { AccountObject } from './durable/account.ts'
export { DirectoryObject } from './durable/directory.ts'
export { RegionObject } from './durable/region.ts'
export { RunnerObject } from './durable/runner.ts'
export { SandboxObject } from './durable/sandbox.ts'

export default buildApp()
