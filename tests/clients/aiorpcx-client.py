# SPDX-License-Identifier: GPL-2.0-or-later
"""aiorpcX, a JSON-RPC library that Debian has (python3-aiorpcx), as it is, drives the daemon."""

import asyncio
import errno
import os
import socket

from control import Tap, skip

try:
    import aiorpcx
except ImportError:
    skip('python3-aiorpcx is missing')


class PathlessSocket(socket.socket):
    """The library takes the name of a peer for a host and a port; a UNIX socket's is a path."""

    def getpeername(self):
        raise OSError(errno.ENOTCONN, 'a path is neither host nor port')


async def is_refused(session, method, params, code, part):
    try:
        await session.send_request(method, params)
    except aiorpcx.RPCError as error:
        return error.code == code and part in error.message
    return False


async def look(session, tap):
    """What is there before anything is done."""
    call = session.send_request
    answer = await call('daemon.get')
    tap.ok(answer['counters']['vms'] == 2, 'daemon.get counts both VMs', answer)
    answer = await call('vm.list')
    tap.ok({vm['name'] for vm in answer['vms']} == {'demo', 'spare'}, 'vm.list names them', answer)
    answer = await call('vm.views', {'vm': 'demo'})
    tap.ok([view['vtl'] for view in answer['views']] == [0, 1], 'vm.views has those of two VTLs',
           answer)
    answer = await call('rpc.methods')
    tap.ok(len(answer['methods']) >= 10, 'rpc.methods has many', answer)


async def act(session, tap):
    """Changes a VM's policy, and sees what became of it."""
    call = session.send_request
    await call('vm.update', {'vm': 'demo', 'kind': 'enable-layer', 'layer': 1, 'protection': 'rwx',
                             'mbec': False})
    update = await call('vm.update', {'vm': 'demo', 'kind': 'protect', 'layer': 1,
                                      'protection': 'r',
                                      'ranges': [{'gpa': '0x20000', 'pages': 4}]})
    tap.ok(update['elements'] == 1, 'vm.update carries out one element', update)
    answer = await call('vm.layers', {'vm': 'demo'})
    tap.ok([layer['layer'] for layer in answer['layers']] == [1], 'vm.layers has the layer', answer)
    answer = await call('map.effective', ['demo', 0, '0x20000', '0x24000'])
    tap.ok([(run['pages'], run['protection']) for run in answer['runs']] == [(4, 'r')],
           'map.effective has the pages', answer)
    answer = await call('map.explain', {'vm': 'demo', 'gpa': '0x21000', 'access': 'x'})
    tap.ok(answer['accesses'][0]['denying'] == [1], 'map.explain names who denies', answer)
    answer = await call('map.summary', {'vm': 'demo', 'buckets': 1})
    tap.ok(answer['buckets'][0]['pages'].get('r') == 4, 'map.summary counts them', answer)
    answer = await call('journal.status', {'vm': 'demo'})
    tap.ok('journal' in answer, 'journal.status says where the journal is', answer)
    answer = await call('journal.blame', {'journal': 'demo', 'gpa': '0x20000'})
    tap.ok(answer['entries'][0]['commit'] == update['commit'], 'journal.blame finds the commit',
           answer)
    answer = await call('vm.freeze', {'vm': 'demo'})
    tap.ok(answer['frozen'] and answer['commit'] == update['commit'], 'vm.freeze', answer)
    answer = await call('vm.thaw', {'vm': 'demo'})
    tap.ok(not answer['frozen'], 'vm.thaw', answer)
    answer = await call('vm.verify', {'vm': 'demo'})
    tap.ok(answer['unknown_pages'] == 0 and answer['pages'] > 0, 'vm.verify applies all again',
           answer)
    answer = await call('stats.get', {'vm': 'demo'})
    tap.ok(answer['vms'][0]['updates'] >= 2, 'stats.get counts the updates', answer)


async def err(session, tap):
    tap.ok(await is_refused(session, 'vm.nothing', {}, -32601, 'Method not found'),
           'a method that is not there is not found')
    tap.ok(await is_refused(session, 'vm.get', {'vm': 7}, -32602, 'Invalid params'),
           'wrong parameters are invalid')
    tap.ok(await is_refused(session, 'vm.get', ['nobody'], -32008, 'no VM is named'),
           'a VM that is not there has a code of the daemon\'s')


async def several(session, tap):
    async with session.send_batch() as batch:
        batch.add_request('vm.list')
        batch.add_notification('log.set_level', {'level': 'warning'})
        batch.add_request('vm.nothing')
        batch.add_request('log.get_level')
    tap.ok(len(batch.results) == 3 and isinstance(batch.results[1], aiorpcx.RPCError)
           and batch.results[2]['level'] == 'warning',
           'a batch is answered call by call, its notification carried out', batch.results)
    answers = await asyncio.gather(*(
        session.send_request('map.explain', {'vm': 'demo', 'gpa': page << 12})
        for page in range(100)))
    tap.ok([int(answer['gpa'], 16) >> 12 for answer in answers] == list(range(100)),
           'calls that are made at once all get their own answers')


async def main():
    tap = Tap()
    connected = PathlessSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(os.environ['KVMATTR_CONTROL'])
    async with aiorpcx.connect_rs(sock=connected) as session:
        for part in (look, act, err, several):
            await part(session, tap)
    tap.end()


asyncio.run(main())
