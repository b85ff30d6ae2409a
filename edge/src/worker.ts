/** The Worker's entry: the front door, and the classes of the objects. Nothing else. */

import { buildFrontDoor } from './front-door.ts'

export { AccountObject } from './durable/account.ts'
export { ConsoleObject } from './durable/console.ts'
export { DirectoryObject } from './durable/directory.ts'
export { IiiObject } from './durable/iii.ts'
export { IiiChannelObject } from './durable/iii-channel.ts'
export { ImageObject } from './durable/image.ts'
export { KeyringObject } from './durable/keyring.ts'
export { RegionObject } from './durable/region.ts'
export { RunnerObject } from './durable/runner.ts'
export { SandboxObject } from './durable/sandbox.ts'

export default buildFrontDoor()
