# SPDX-License-Identifier: GPL-2.0-or-later
"""The document that rpc.discover publishes, and what its schemas say."""

from control import skip

try:
    import jsonschema
except ImportError:
    skip('python3-jsonschema is missing')


class Published:
    def __init__(self, document):
        self.components = document['components']
        self.methods = {method['name']: method for method in document['methods']}
        self.events = {event['name']: event['data'] for event in document['x-events']}

    def result(self, method):
        return self.methods[method]['result']['schema']

    def parameters(self, method):
        return self.methods[method]['params']

    def wrong(self, schema, value):
        """What is wrong with a value, in words; None: nothing."""
        whole = {**schema, 'components': self.components}
        error = jsonschema.exceptions.best_match(
            jsonschema.Draft7Validator(whole).iter_errors(value))
        return error and f'{error.json_path}: {error.message[:400]}'

    def members(self, schema, path=''):
        """The path of each member that answers of this schema may have: "vms[].name"."""
        for name, member in schema.get('properties', {}).items():
            inner = f'{path}.{name}' if path else name
            yield inner
            yield from self.members(member, inner)
        if 'items' in schema:
            yield from self.members(schema['items'], path + '[]')

    def open_objects(self, schema, path='the result'):
        """The paths of objects that may have members of which nothing is said."""
        others = schema.get('additionalProperties', {})
        if 'object' in schema.get('type', []) and others in (True, {}):
            yield path
        for name, member in schema.get('properties', {}).items():
            yield from self.open_objects(member, f'{path}.{name}')
        if 'items' in schema:
            yield from self.open_objects(schema['items'], path + '[]')


def paths_of(value, path=''):
    """The path of each member that a value has."""
    if isinstance(value, dict):
        for name, member in value.items():
            inner = f'{path}.{name}' if path else name
            yield inner
            yield from paths_of(member, inner)
    elif isinstance(value, list):
        for member in value:
            yield from paths_of(member, path + '[]')
