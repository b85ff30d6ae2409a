/** One sandbox: what it is called, and its parts. What it knows of its state is as of the answer that it was made of. */

import { Checkpoints } from './checkpoints.ts'
import { IrisClient, type IrisOptions } from './client.ts'
import { DataPlane } from './data-plane.ts'
import { Exec } from './exec.ts'
import { SandboxFiles } from './files.ts'
import type { Gateway, SandboxRecord } from './gateway.ts'
import { Services } from './services.ts'
import { Store } from './store.ts'
import type { IrisToken } from './tokens.ts'
import type { CallOptions } from './wire.ts'

export type SandboxState = SandboxRecord['state']

export class Sandbox {
  /** `sb_` and 26 characters. */
  readonly id: string
  readonly name: string
  /** The host of its data plane, with the port where that is not the scheme's own. */
  readonly domain: string
  readonly state: SandboxState
  readonly exec: Exec
  readonly files: SandboxFiles
  readonly checkpoint: Checkpoints
  readonly services: Services
  readonly store: Store
  readonly #gateway: Gateway

  /** @internal Made by `Sandbox.create` and IrisClient. */
  constructor(gateway: Gateway, record: SandboxRecord, token: IrisToken | undefined) {
    this.#gateway = gateway
    this.id = record.id
    this.name = record.name
    this.domain = record.domain
    this.state = record.state
    const plane = new DataPlane(gateway, record.id, record.domain, token)
    this.exec = new Exec(plane)
    this.files = new SandboxFiles(plane)
    this.checkpoint = new Checkpoints(plane)
    this.services = new Services(plane)
    this.store = new Store(plane)
  }

  /** Makes a sandbox that runs. */
  static async create(options: IrisOptions & CallOptions & { readonly name?: string } = {}): Promise<Sandbox> {
    const { name, signal, ...where } = options
    return await new IrisClient(where).sandboxes.create({ name, signal })
  }

  /** The sandbox with this id; rejects with 404 where there is none. */
  static async connect(id: string, options: IrisOptions & CallOptions = {}): Promise<Sandbox> {
    const { signal, ...where } = options
    return await new IrisClient(where).sandboxes.get(id, { signal })
  }

  /** A clone that goes on from this moment; this one goes on unchanged. */
  async fork(options: CallOptions & { readonly name?: string } = {}): Promise<Sandbox> {
    const { record, token } = await this.#gateway.fork(this.id, options.name, options)
    return new Sandbox(this.#gateway, record, token)
  }

  /** Ends it. Does nothing if it is gone already. */
  async kill(options: CallOptions = {}): Promise<void> {
    await this.#gateway.delete(this.id, options)
  }
}
