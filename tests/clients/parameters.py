# SPDX-License-Identifier: GPL-2.0-or-later
"""What a published parameter does not take, its method refuses, and says where.

Generated from what rpc.discover answers: every parameter of every method.
"""

import json

from control import Control, Tap
from published import Published

INVALID_PARAMS = -32602

# A value of every type, and those that come near what a parameter may be.
VALUES = [
    None, True, False, 0.5, -1, 2**63, 2**64, 10**30, -10**30, '', 'no such thing', '\u0000', '0x',
    '0x1g', '-0x1', '1:', ':1', {}, {'no-such-thing': 1}, [], [[]], [None], [-1], [16], ['x'], [{}],
    [{'gpa': '0x1000'}], [{'gpa': '0x1000', 'pages': 0}], [{'gpa': '0x1000', 'pages': '1'}],
    [{'gpa': '0x1000', 'pages': 1, 'more': 1}], [{'gpa': 0.5, 'pages': 1}],
]

tap = Tap()
control = Control()
published = Published(control.call('rpc.discover', {}))


def is_refused_at(method, params, path):
    """Whether a call is refused because of what is at this path, or within."""
    error = control.ask(method, params).get('error', {})
    where = error.get('data', {}).get('path', '')
    is_fine = (error.get('code') == INVALID_PARAMS and error.get('message') == 'Invalid params'
               and (where == path or where.startswith((path + '[', path + '.')))
               and error['data'].get('reason'))
    return is_fine, error


for method in published.methods:
    parameters = published.parameters(method)
    for parameter in parameters:
        name, schema = parameter['name'], parameter['schema']
        taken = []
        n_wrong = 0
        for value in VALUES:
            # null leaves out what may be left out
            if value is None and not parameter['required']:
                continue
            if published.wrong(schema, value) is None:
                continue
            n_wrong += 1
            is_fine, error = is_refused_at(method, {name: value}, f'params.{name}')
            if not is_fine:
                taken.append(f'{json.dumps(value)}: {error}')
        tap.ok(n_wrong and not taken, f'{method}: {n_wrong} values that are none for {name} are '
               'refused by its path', '\n'.join(taken))
    required = [parameter['name'] for parameter in parameters if parameter['required']]
    if required:
        is_fine, error = is_refused_at(method, {}, f'params.{required[0]}')
        tap.ok(is_fine, f'{method}: {required[0]}, which is missing, is named', error)
    is_fine, error = is_refused_at(method, {'no-such-thing': 1}, 'params.no-such-thing')
    tap.ok(is_fine, f'{method}: an unknown parameter is refused by its name', error)
    is_fine, error = is_refused_at(method, [None] * (len(parameters) + 1),
                                   f'params[{len(parameters)}]')
    tap.ok(is_fine, f'{method}: one value too many is refused by its place', error)
tap.end()
