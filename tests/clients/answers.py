# SPDX-License-Identifier: GPL-2.0-or-later
"""Every method that rpc.discover lists is called, and what it answers is what it publishes.

A method without an example here fails, and so does an example of a method that is not there: the
table of methods, the answers and the document cannot drift apart.  The same for events, which a
second connection is told meanwhile.
"""

import base64
import json

from control import Control, Tap
from published import Published, paths_of

PAGES = [{'gpa': '0x10000', 'pages': 16}]
OTHER_PAGES = [{'gpa': '0x80000', 'pages': 8}]
MORE_RAM = [{'gpa': '0x10000000', 'pages': 16}]
N_FIRST = 16  # bytes of an export in its first piece


def update(kind, **members):
    return 'vm.update', {'vm': 'demo', 'kind': kind, **members}


def first_bytes(seen):
    """The beginning of what vm.export has answered, for vm.import."""
    return {'vm': 'spare', 'size': seen['vm.export']['size'], 'offset': 0,
            'data': base64.b64encode(exported(seen)[:N_FIRST]).decode()}


def other_bytes(seen):
    return {'vm': 'spare', 'size': seen['vm.export']['size'], 'offset': N_FIRST,
            'data': base64.b64encode(exported(seen)[N_FIRST:]).decode()}


def exported(seen):
    return base64.b64decode(seen['vm.export']['data'])


# In this order; params may be a function of the last answers of all methods.
EXAMPLES = [
    ('rpc.discover', {}),
    ('rpc.methods', {}),
    ('daemon.get', {}),
    ('log.get_level', {}),
    ('log.set_level', {'level': 'info'}),
    ('event.subscribe', {}),
    ('event.subscribe', {'events': ['vm.released', 'session.closed'], 'vm': 'demo', 'since': 1}),
    ('event.unsubscribe', {}),
    ('event.unsubscribe', {}),
    ('vm.list', {}),
    ('vm.get', {'vm': 'demo'}),
    update('enable-layer', layer=1, protection='rwx', mbec=False),
    update('protect', layer=1, protection='rx', ranges=PAGES),
    update('protect', layer=1, protection='none', restricts=[0], ranges=PAGES),
    update('protect', layer=1, protection='r', ranges=PAGES),
    update('set-visibility', visibility='private', ranges=OTHER_PAGES),
    update('lock', ranges=PAGES),
    ('map.effective', {'vm': 'demo'}),
    ('map.effective', {'vm': 'demo', 'vtl': 0, 'start': '0x0', 'end': 0x100000, 'limit': 1}),
    ('map.layer', {'vm': 'demo', 'layer': 1}),
    ('map.layer', {'vm': 'demo', 'layer': 1, 'vtl': 0, 'limit': 1}),
    ('map.summary', {'vm': 'demo'}),
    ('map.summary', {'vm': 'demo', 'buckets': 2}),
    ('map.explain', {'vm': 'demo', 'gpa': '0x10fff'}),
    ('map.explain', {'vm': 'demo', 'gpa': 0xfffff000}),
    ('map.explain', {'vm': 'demo', 'gpa': '0x10000', 'vtl': 0, 'access': 'x'}),
    ('journal.diff', {'journal': 'spare', 'from': 1}),
    ('journal.blame', lambda seen: {
        'journal': 'spare', 'gpa': seen['journal.diff']['runs'][0]['gpa']}),
    ('vm.export', {'vm': 'demo'}),
    ('vm.import', first_bytes),
    ('vm.import', other_bytes),
    update('unlock', ranges=PAGES),
    update('add-ram', ranges=MORE_RAM),
    update('remove-ram', ranges=MORE_RAM),
    ('vm.get', {'vm': 'demo'}),
    ('vm.list', {}),
    ('vm.views', {'vm': 'demo'}),
    ('vm.layers', {'vm': 'demo'}),
    ('vm.sessions', {'vm': 'demo'}),
    ('vm.freeze', {'vm': 'demo'}),
    ('vm.get', {'vm': 'demo'}),
    ('vm.thaw', {'vm': 'demo'}),
    ('vm.verify', {'vm': 'demo'}),
    ('journal.status', {'vm': 'demo'}),
    ('journal.list', {}),
    ('journal.log', {'journal': 'demo'}),
    ('journal.log', {'journal': 'demo', 'from': 2, 'limit': 1}),
    ('journal.state_at', {'journal': 'demo'}),
    ('journal.state_at', {'journal': 'demo', 'commit': 3, 'limit': 1}),
    ('journal.diff', {'journal': 'demo', 'from': 1}),
    ('journal.diff', {'journal': 'demo', 'from': 1, 'to': 6, 'vtl': 0, 'limit': 1}),
    ('journal.blame', {'journal': 'demo', 'gpa': '0x10000'}),
    ('journal.blame', {'journal': 'demo', 'gpa': '0x10000', 'limit': 1}),
    ('journal.log', {'journal': 'spare'}),
    ('stats.get', {}),
    ('stats.get', {'vm': 'demo'}),
    ('stats.kvm', {'vm': 'demo'}),
    ('daemon.metrics', {}),
    ('stats.reset', {'vm': 'demo'}),
    ('stats.reset', {}),
    update('reset-layer', layer=1),
    update('reset-vm'),
    ('vm.release', {'vm': 'spare'}),
    ('journal.list', {}),
    ('vm.release', lambda seen: {'vm': 'demo', 'commit': seen['vm.update']['commit']}),
    ('journal.log', lambda seen: {
        'journal': seen['journal.list']['journals'][0]['journal']}),
    ('vm.list', {}),
    ('stats.get', {}),
]

# What these examples do not bring about, with all that is within.
NOT_SEEN = {
    'daemon.get': ['journals.unrecovered[]'],  # a journal that is damaged
    'daemon.metrics': ['cursor'],  # many VMs
    'journal.list': ['journals[].damage'],
    'map.summary': ['cursor'],  # a map that takes long to walk through
    'stats.kvm': ['views[].histograms[]'],  # no kernel's VM has any so far
    'vm.export': ['cursor'],  # a large policy
    'vm.get': ['sessions[].rights'],  # an agent that stays
    'vm.sessions': ['sessions[].rights'],
}
EVENTS_NOT_SEEN = {'vm.degraded', 'vm.recovered', 'fault.explained', 'journal.trouble',
                   'journal.well'}

tap = Tap()
control = Control()
published = Published(control.call('rpc.discover', {}))
subscriber = Control()
subscriber.call('event.subscribe', {'since': 1})
last_answers = {}
paths_seen = {name: set() for name in published.methods}


def try_example(method, params):
    shown = json.dumps(params)
    shown = f'{method} {shown if len(shown) < 100 else shown[:97] + "..."}'
    for parameter in published.parameters(method):
        if parameter['name'] in params:
            wrong = published.wrong(parameter['schema'], params[parameter['name']])
            tap.ok(wrong is None, f'{shown}: {parameter["name"]} is as published', wrong)
    answer = control.ask(method, params)
    if 'error' in answer:
        tap.ok(False, f'{shown} is answered', answer['error'])
        return
    result = last_answers[method] = answer['result']
    wrong = published.wrong(published.result(method), result)
    tap.ok(wrong is None, f'{shown} is answered as published', wrong)
    paths_seen[method].update(paths_of(result))
    if 'cursor' in result and params.get('cursor') != result['cursor']:
        try_example(method, {**params, 'cursor': result['cursor']})


for method, params in EXAMPLES:
    if method in published.methods:
        try_example(method, params(last_answers) if callable(params) else params)
    else:
        tap.ok(False, f'{method} is one of the methods')

examples = {method for method, _ in EXAMPLES}
for method in published.methods:
    tap.ok(method in examples, f'{method} has an example')
    schema = published.result(method)
    # what others define is theirs to describe
    if method != 'rpc.discover':
        open_objects = list(published.open_objects(schema))
        tap.ok(not open_objects, f'{method}: every member of its answer is described', open_objects)
    missing = [path for path in published.members(schema) if path not in paths_seen[method]
               and not path.startswith(tuple(NOT_SEEN.get(method, [])))]
    tap.ok(not missing, f'{method}: what is published was seen in an answer', ', '.join(missing))

# The VM that was released last is the end of what there is to tell.
wrong_events = {}
event = {}
while (event.get('event'), event.get('vm')) != ('vm.released', 'demo'):
    event = subscriber.next_event()['params']
    wrong = published.wrong(published.events[event['event']], event['data'])
    wrong_events.setdefault(event['event'], []).extend([wrong] if wrong else [])
for name in sorted(published.events.keys() - EVENTS_NOT_SEEN):
    tap.ok(wrong_events.get(name, ['not seen']) == [], f'event {name} is as published',
           '\n'.join(wrong_events.get(name, ['not seen'])))
tap.end()
