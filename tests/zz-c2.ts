import { testPlatform } from './kit/platform.ts'
import { createRequire } from 'node:module'
const { WebSocket: Ws } = createRequire(import.meta.resolve('@portico/runner/fake').replace('file://',''))('ws')
const t0 = performance.now()
const log = (...x: unknown[]) => console.log(((performance.now() - t0) / 1000).toFixed(2), ...x)
const p = await testPlatform()
try {
  const post = async (path: string, json: object = {}) => { const r = await p.call(path, { method: 'POST', body: JSON.stringify(json), headers: { 'content-type': 'application/json' } }); const t = await r.text(); if (r.status >= 300) throw new Error(t); return JSON.parse(t) }
  const run = await post('/v1/runs', { image: 'python', auto_resume: true })
  log('run')
  const base = p.platform.url.replace('http', 'ws')
  for (const [name, C] of [['ws', Ws], ['node', WebSocket], ['node', WebSocket]] as const) {
    const ws = new C(`${base}/v1/runs/${run.id}/terminal?token=${p.platform.apiKey}&command=${encodeURIComponent('sleep 0.3; exit 6')}`)
    await new Promise<void>((r) => {
      ws.addEventListener('message', (e: any) => log(name, typeof e.data === 'string' ? e.data : 'bytes'))
      ws.addEventListener('close', (e: any) => { log(name, 'close', e.code); r() })
      ws.addEventListener('error', (e: any) => log(name, 'error', e.message))
      if (name === 'ws') ws.on('upgrade', (res: any) => { res.socket.on('end', () => log('tcp end')); res.socket.on('close', () => log('tcp close')) })
    })
  }
  for (const auto of [true, false]) {
    const r2 = auto ? run : await post('/v1/runs', { image: 'python', auto_resume: false })
    const con = await post(`/v1/runs/${r2.id}/consoles`, { command: ['cat'] })
    const ws = new Ws(`${base}/v1/runs/${r2.id}/consoles/${con.id}/attach?token=${p.platform.apiKey}`)
    let got = ''
    ws.on('message', (d: Buffer, b: boolean) => { if (b) { got += d; log('bytes', JSON.stringify(String(d))) } else log(String(d)) })
    ws.on('close', (c: number) => log('close', c))
    await new Promise((r) => ws.on('open', r))
    await new Promise((r) => setTimeout(r, 1000))
    ws.send(Buffer.from('a\n'))
    await new Promise((r) => setTimeout(r, 2000))
    log('hibernate', await post(`/v1/runs/${r2.id}/hibernate`).then((x) => x.status))
    if (auto) {
      await new Promise((r) => setTimeout(r, 3000))
      log('type'); ws.send(Buffer.from('k\n'))
      await new Promise((r) => setTimeout(r, 15000))
    } else {
      await new Promise((r) => setTimeout(r, 60000))
      log('resume', await post(`/v1/runs/${r2.id}/resume`).then((x) => x.status))
      await new Promise((r) => setTimeout(r, 12000))
      log('type'); ws.send(Buffer.from('z\n'))
      await new Promise((r) => setTimeout(r, 3000))
    }
    log('all', JSON.stringify(got))
    ws.close()
  }
} catch (e) { log('FAILED', e) } finally { await p[Symbol.asyncDispose](); process.exit() }
