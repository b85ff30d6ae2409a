/** The gateway as a Connect client uses it: by a descriptor made by hand, as no file of it is published. */

import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'

const scope = 'iris.public.v1'

const text = (name: string) => ({ name, type: Type.STRING })
const long = (name: string) => ({ name, type: Type.INT64 })
const sandbox = { name: 'sandbox', type: Type.MESSAGE, typeName: `.${scope}.Sandbox` }
const token = [text('data_plane_token'), long('data_plane_token_expires_at_unix')]
const one = [text('sandbox_id')]

/** Request and answer of every method. */
const methods = {
  CreateSandbox: [[text('name')], [sandbox, ...token]],
  GetSandbox: [one, [sandbox]],
  ListSandboxes: [[], [{ ...sandbox, name: 'sandboxes', label: Label.REPEATED }]],
  ForkSandbox: [
    [...one, text('name')],
    [sandbox, ...token],
  ],
  SuspendSandbox: [one, [sandbox]],
  ResumeSandbox: [one, [sandbox, ...token]],
  DeleteSandbox: [one, []],
  IssueDataPlaneToken: [[...one, long('ttl_seconds')], token],
} as const

type Method = keyof typeof methods
const names = Object.keys(methods) as Method[]

/** Its methods are known by the descriptor alone, so their types are told here. */
export type IrisCalls = Readonly<Record<Method, (message: object) => Promise<Readonly<Record<string, unknown>>>>>

/** A Connect client of the gateway, with this key, in JSON. */
export function connectGateway(baseUrl: string, key: string): IrisCalls {
  const transport = createConnectTransport({
    baseUrl,
    httpVersion: '1.1',
    useBinaryFormat: false,
    defaultTimeoutMs: 60_000,
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${key}`)
        return next(request)
      },
    ],
  })
  const client: Readonly<Record<string, unknown>> = createClient(irisService(), transport)
  const local = (name: string) => `${name.charAt(0).toLowerCase()}${name.slice(1)}`
  return Object.fromEntries(names.map((name) => [name, client[local(name)]])) as unknown as IrisCalls
}

/** As the compiler fills it in. */
const jsonName = (name: string) => name.replaceAll(/_[a-z]/g, (part) => part.slice(1).toUpperCase())

function message(name: string, fields: readonly { readonly name: string }[]) {
  const field = fields.map((one, at) => {
    return { label: Label.OPTIONAL, ...one, jsonName: jsonName(one.name), number: at + 1 }
  })
  return { name, field }
}

/** The descriptor of `iris.public.v1.SandboxService`. */
function irisService(): DescService {
  const pairs = Object.entries(methods).flatMap(([name, [request, answer]]) => [
    message(`${name}Request`, request),
    message(`${name}Response`, answer),
  ])
  const fields = ['id', 'name', 'domain', 'state', 'created_at'].map(text)
  const file = create(FileDescriptorProtoSchema, {
    name: 'iris/public/v1/sandbox.proto',
    package: scope,
    syntax: 'proto3',
    messageType: [message('Sandbox', fields), ...pairs],
    service: [
      {
        name: 'SandboxService',
        method: names.map((name) => ({
          name,
          inputType: `.${scope}.${name}Request`,
          outputType: `.${scope}.${name}Response`,
        })),
      },
    ],
  })
  const service = createFileRegistry(file, () => undefined).getService(`${scope}.SandboxService`)
  if (service === undefined) throw new Error('cannot make the descriptor: it has no service')
  return service
}
