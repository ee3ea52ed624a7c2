/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's shape, as JSON: where it has RAM, its views, and its layers without their pages.
 *
 * It is half of what vm.get answers, may be asked for a thousand times a second, and hardly ever
 * changes.  So it is kept as text, and printed again when something of it has become another one.
 */
#ifndef KVMATTRD_VM_SHAPE_H
#define KVMATTRD_VM_SHAPE_H

struct hosted_vm;
struct json_object;
struct vm_shape;

/* Members of the object; it is printed before the VM has its next turn. */
void vm_shape_put_ram(struct hosted_vm *hosted, struct json_object *object);
void vm_shape_put_views(struct hosted_vm *hosted, struct json_object *object);
void vm_shape_put_layers(struct hosted_vm *hosted, struct json_object *object);

/* NULL: nothing was asked for. */
void vm_shape_free(struct vm_shape *shape);

#endif
