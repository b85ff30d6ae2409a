/** The client of the gateway: finds the platform and its key, and has what is done to whole sandboxes. */

import { environment } from '../platform.ts'
import { IrisError, invalid } from './errors.ts'
import { Gateway, type Made, type SandboxRecord } from './gateway.ts'
import { Sandbox } from './sandbox.ts'
import type { IrisToken } from './tokens.ts'
import { type CallOptions, sender } from './wire.ts'

/** Where the platform is and who calls. */
export interface IrisOptions {
  /** The environment variable IRIS_API_KEY unless told. */
  readonly apiKey?: string | undefined
  /** The gateway, such as `http://127.0.0.1:8787`; the environment variable IRIS_API_URL unless told. */
  readonly baseUrl?: string | undefined
  /** Another `fetch` than the runtime's. */
  readonly fetch?: typeof fetch | undefined
}

/** What is done to whole sandboxes. */
export interface IrisSandboxes {
  /** Makes a sandbox that runs. */
  create(options?: CallOptions & { readonly name?: string | undefined }): Promise<Sandbox>
  /** The sandbox with this id; rejects with 404 where there is none. */
  get(id: string, options?: CallOptions): Promise<Sandbox>
  /** All of the key's account in its region, newest first. */
  list(options?: CallOptions): Promise<Sandbox[]>
  /** A clone that goes on from this moment; the source goes on unchanged. */
  fork(id: string, options?: CallOptions & { readonly name?: string | undefined }): Promise<Sandbox>
  /** Saves it and stops its machine. Does nothing to one that is suspended. */
  suspend(id: string, options?: CallOptions): Promise<Sandbox>
  /** Goes on from where it was suspended. Does nothing to one that runs. */
  resume(id: string, options?: CallOptions): Promise<Sandbox>
  /** Ends it. Does nothing to one that is gone. */
  delete(id: string, options?: CallOptions): Promise<void>
}

export class IrisClient {
  readonly sandboxes: IrisSandboxes

  constructor(options: IrisOptions = {}) {
    const gateway = open(options)
    const handle = (record: SandboxRecord, token?: IrisToken) => new Sandbox(gateway, record, token)
    const fresh = ({ record, token }: Made) => handle(record, token)
    this.sandboxes = {
      create: async (call = {}) => fresh(await gateway.create(call.name, call)),
      get: async (id, call = {}) => handle(await gateway.get(id, call)),
      list: async (call = {}) => (await gateway.list(call)).map((record) => handle(record)),
      fork: async (id, call = {}) => fresh(await gateway.fork(id, call.name, call)),
      suspend: async (id, call = {}) => handle(await gateway.suspend(id, call)),
      resume: async (id, call = {}) => fresh(await gateway.resume(id, call)),
      delete: async (id, call = {}) => await gateway.delete(id, call),
    }
  }
}

function open(options: IrisOptions): Gateway {
  const apiKey = options.apiKey ?? environment('IRIS_API_KEY')
  if (apiKey === undefined || !/^[\x21-\x7e]+$/.test(apiKey)) {
    const message = 'cannot use the platform: no API key is given; set IRIS_API_KEY, or pass apiKey'
    throw new IrisError({ message, status: 0, code: 'unauthenticated' })
  }
  const text = options.baseUrl ?? environment('IRIS_API_URL')
  if (text === undefined) throw invalid('cannot find the platform: set IRIS_API_URL, or pass baseUrl')
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (
    url === undefined ||
    !/^https?:$/.test(url.protocol) ||
    url.search !== '' ||
    url.hash !== '' ||
    url.username !== ''
  )
    throw invalid(`cannot use the URL ${text}: it looks like https://portico.example or http://127.0.0.1:8787`)
  return new Gateway(`${url.origin}${url.pathname.replace(/\/+$/, '')}`, apiKey, sender(options.fetch))
}
