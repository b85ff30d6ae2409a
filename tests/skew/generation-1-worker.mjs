/** Generation 1 as today's bindings want it: a class stands in for each that came later, and nothing of that generation asks for it. */

import { DurableObject } from 'cloudflare:workers'

export * from './frozen-1/worker.mjs'
export { default } from './frozen-1/worker.mjs'

export class ConsoleObject extends DurableObject {}
export class KeyringObject extends DurableObject {}
export class ImageObject extends DurableObject {}
export class IiiObject extends DurableObject {}
export class IiiChannelObject extends DurableObject {}
