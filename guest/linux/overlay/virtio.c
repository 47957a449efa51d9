// SPDX-License-Identifier: GPL-2.0
/*
 * Virtio devices in the layer's region, a page each (struct understudy_device). What a driver does to a device's status
 * or queues stops the guest, and the monitor has seen it when that returns. Queues need no doorbell: the monitor looks
 * at them at every stop. A guest that is busy for long makes one stop more, so that nobody waits for its frames.
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <asm/msr.h>
#include <xen/events.h>
#include "understudy.h"

/* At most so long a frame waits while the guest computes. */
#define DOORBELL_AFTER_NS 200000
/* Who was interrupted so long ago is taken to compute still. */
#define COMPUTES_FOR_NS NSEC_PER_SEC

struct understudy_virtio {
	struct virtio_device vdev;
	struct understudy_device *device;
	unsigned int number;
	int irq;
};

static struct understudy_virtio *of(struct virtio_device *vdev)
{
	return container_of(vdev, struct understudy_virtio, vdev);
}

/* The monitor has looked at the device when this returns. */
static void tell(struct understudy_virtio *v)
{
	understudy_request(UNDERSTUDY_PORT_DEVICE, v->number);
}

static void get(struct virtio_device *vdev, unsigned int offset, void *buffer, unsigned int length)
{
	if (!WARN_ON(offset + length > sizeof(of(vdev)->device->config)))
		memcpy(buffer, of(vdev)->device->config + offset, length);
}

static void set(struct virtio_device *vdev, unsigned int offset, const void *buffer, unsigned int length)
{
	if (WARN_ON(offset + length > sizeof(of(vdev)->device->config)))
		return;
	memcpy(of(vdev)->device->config + offset, buffer, length);
	tell(of(vdev));
}

static u32 generation(struct virtio_device *vdev)
{
	return of(vdev)->device->config_generation;
}

static u8 get_status(struct virtio_device *vdev)
{
	return of(vdev)->device->status;
}

static void set_status(struct virtio_device *vdev, u8 status)
{
	of(vdev)->device->status = status;
	tell(of(vdev));
}

static void reset(struct virtio_device *vdev)
{
	set_status(vdev, 0);
}

static u64 get_features(struct virtio_device *vdev)
{
	return of(vdev)->device->device_features;
}

static int finalize_features(struct virtio_device *vdev)
{
	vring_transport_features(vdev);
	of(vdev)->device->driver_features = vdev->features;
	return 0;
}

static const char *bus_name(struct virtio_device *vdev)
{
	return "understudy";
}

static irqreturn_t interrupt(int irq, void *data)
{
	struct understudy_virtio *v = data;
	struct virtqueue *vq;
	static u32 seen[UNDERSTUDY_DEVICES];

	if (seen[v->number] != v->device->config_generation) {
		seen[v->number] = v->device->config_generation;
		virtio_config_changed(&v->vdev);
	}
	virtio_device_for_each_vq(&v->vdev, vq)
		vring_interrupt(irq, vq);
	return IRQ_HANDLED;
}

/* Has the next buffer notified of, too, as the monitor does at its stops (the used ring's event index). */
static void notify_next(struct virtqueue *vq)
{
	struct vring_used *used = phys_to_virt(virtqueue_get_used_addr(vq));
	struct vring_avail *available = phys_to_virt(virtqueue_get_avail_addr(vq));
	unsigned int size = virtqueue_get_vring_size(vq);

	*(__virtio16 *)&used->ring[size] = available->idx;
}

/*
 * A program that had to be interrupted computes on once it runs, and makes no stop for long: what was offered since the
 * last one is to be seen before.
 */
static u64 offered_ns; /* the clock at the stop behind which something was offered last */

static bool somebody_computes(void)
{
	u64 interrupted_ns = READ_ONCE(understudy_layer()->interrupted_ns);

	return interrupted_ns && rdtsc() - interrupted_ns < COMPUTES_FOR_NS;
}

/* The thread that runs next is `current`. The kernel's own count, and idling is a stop. */
void understudy_switched(void)
{
	bool seen = offered_ns != understudy_control.clock_ns;

	if (!seen && !(current->flags & PF_KTHREAD) && somebody_computes())
		understudy_request(UNDERSTUDY_PORT_FLUSH, 0);
}

/* Nobody waits for what a network device is to receive into. */
static bool is_for_receiving(struct virtqueue *vq)
{
	return vq->vdev->id.device == VIRTIO_ID_NET && vq->index % 2 == 0;
}

static bool notify(struct virtqueue *vq)
{
	/* The console's driver spins until its buffer is taken. */
	bool waited_for = vq->vdev->id.device == VIRTIO_ID_CONSOLE;

	if (waited_for || rdtsc() - understudy_control.clock_ns > DOORBELL_AFTER_NS) {
		understudy_request(UNDERSTUDY_PORT_FLUSH, 0);
		return true;
	}
	notify_next(vq);
	if (!is_for_receiving(vq))
		offered_ns = understudy_control.clock_ns;
	return true;
}

/*
 * A device that is shut down is broken first: its buffers are never taken out again. Linux 6.1's network driver waits for
 * that all the same, and for ever, when it sends something later.
 */
bool __real_virtqueue_enable_cb_delayed(struct virtqueue *vq);
bool __wrap_virtqueue_enable_cb_delayed(struct virtqueue *vq);

bool __wrap_virtqueue_enable_cb_delayed(struct virtqueue *vq)
{
	return virtqueue_is_broken(vq) || __real_virtqueue_enable_cb_delayed(vq);
}

static void del_vqs(struct virtio_device *vdev)
{
	struct understudy_virtio *v = of(vdev);
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list) {
		v->device->queue[vq->index].ready = 0;
		vring_del_virtqueue(vq);
	}
	tell(v);
	if (v->irq >= 0)
		unbind_from_irqhandler(v->irq, v);
	v->irq = -1;
}

static struct virtqueue *setup_queue(struct understudy_virtio *v, unsigned int index, vq_callback_t *callback,
				     const char *name, bool context)
{
	struct understudy_queue *queue = &v->device->queue[index];
	struct virtqueue *vq;

	if (index >= UNDERSTUDY_QUEUES || !queue->size_max || queue->ready)
		return ERR_PTR(-ENOENT);
	vq = vring_create_virtqueue(index, queue->size_max, SMP_CACHE_BYTES, &v->vdev, true, true, context, notify,
				    callback, name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	queue->size = virtqueue_get_vring_size(vq);
	queue->descriptors = virtqueue_get_desc_addr(vq);
	queue->available = virtqueue_get_avail_addr(vq);
	queue->used = virtqueue_get_used_addr(vq);
	queue->ready = 1;
	return vq;
}

static int find_vqs(struct virtio_device *vdev, unsigned int count, struct virtqueue *vqs[],
		    vq_callback_t *callbacks[], const char *const names[], const bool *contexts,
		    struct irq_affinity *affinity)
{
	struct understudy_virtio *v = of(vdev);
	unsigned int i, index = 0;

	v->irq = bind_evtchn_to_irqhandler(UNDERSTUDY_EVENT_PORT + v->number, interrupt, 0, dev_name(&vdev->dev), v);
	if (v->irq < 0)
		return v->irq;
	for (i = 0; i < count; i++) {
		if (!names[i]) {
			vqs[i] = NULL;
			continue;
		}
		vqs[i] = setup_queue(v, index++, callbacks[i], names[i], contexts ? contexts[i] : false);
		if (IS_ERR(vqs[i])) {
			int error = PTR_ERR(vqs[i]);

			del_vqs(vdev);
			return error;
		}
	}
	tell(v);
	return 0;
}

static const struct virtio_config_ops config_ops = {
	.get = get,
	.set = set,
	.generation = generation,
	.get_status = get_status,
	.set_status = set_status,
	.reset = reset,
	.find_vqs = find_vqs,
	.del_vqs = del_vqs,
	.get_features = get_features,
	.finalize_features = finalize_features,
	.bus_name = bus_name,
};

static void release(struct device *device)
{
}

/* What devices reach: all memory. In a Xen guest virtio's rings are allocated by the DMA layer, for this parent. */
static u64 dma_mask = ~0ULL;

static struct device parent = {
	.init_name = "understudy",
	.release = release,
	.dma_mask = &dma_mask,
	.coherent_dma_mask = ~0ULL,
};

static int __init virtio_init(void)
{
	static struct understudy_virtio devices[UNDERSTUDY_DEVICES];
	unsigned int i;
	int error = device_register(&parent);

	if (error)
		return error;
	for (i = 0; i < UNDERSTUDY_DEVICES; i++) {
		struct understudy_virtio *v = &devices[i];

		v->device = (void *)(UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_DEVICES_OFFSET + i * PAGE_SIZE);
		if (!v->device->device_id)
			continue;
		v->number = i;
		v->irq = -1;
		v->vdev.id.device = v->device->device_id;
		v->vdev.id.vendor = VIRTIO_DEV_ANY_ID;
		v->vdev.dev.parent = &parent;
		v->vdev.dev.release = release;
		v->vdev.config = &config_ops;
		error = register_virtio_device(&v->vdev);
		if (error)
			pr_err("understudy: virtio device %u: %d\n", i, error);
	}
	return 0;
}
device_initcall(virtio_init);
