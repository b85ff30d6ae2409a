/** The rows of the Iris gateway: one for each method, and one for what is none. */

import { type BodyRule, json, jsonOrNothing, type Need, none, type Row, row } from '../routes/row.ts'
import {
  createSandbox,
  deleteSandbox,
  forkSandbox,
  getSandbox,
  issueToken,
  listSandboxes,
  refuseMethod,
  resumeSandbox,
  suspendSandbox,
} from './gateway.ts'
import { createMessage, forkMessage, listMessage, sandboxMessage, tokenMessage } from './requests.ts'

const service = '/iris.public.v1.SandboxService'
type Handle<Rule extends BodyRule> = Row<'key', Rule>['handle']

function method<const Rule extends BodyRule>(name: string, needs: Need, body: Rule, handle: Handle<Rule>): Row {
  return row({
    path: `${service}/${name}`,
    methods: ['POST'],
    access: 'key',
    needs,
    body,
    protocol: 'connect',
    logged: needs === 'manage',
    handle,
  })
}

/** Whatever is no method is refused by the last one. */
export const gatewayRows: readonly Row[] = [
  method('CreateSandbox', 'manage', jsonOrNothing(createMessage), createSandbox),
  method('ListSandboxes', 'read', jsonOrNothing(listMessage), listSandboxes),
  method('GetSandbox', 'read', json(sandboxMessage), getSandbox),
  method('ForkSandbox', 'manage', json(forkMessage), forkSandbox),
  method('SuspendSandbox', 'manage', json(sandboxMessage), suspendSandbox),
  method('ResumeSandbox', 'manage', json(sandboxMessage), resumeSandbox),
  method('DeleteSandbox', 'manage', json(sandboxMessage), deleteSandbox),
  method('IssueDataPlaneToken', 'use', json(tokenMessage), issueToken),
  row({
    path: `${service}/:method`,
    methods: ['ALL'],
    access: 'public',
    needs: null,
    body: none,
    protocol: 'connect',
    handle: refuseMethod,
  }),
]
