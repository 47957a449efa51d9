// Hypercalls, called as the kernel calls them, on guest memory of the test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/guest/pv/host_layer.hpp"

namespace understudy::pv {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr u64 kProgramAddress = 0x7f0000000000;
constexpr u64 kOrdinary = kPresent | kWritable | kUser | kAccessed | kDirty;

template <typename T>
u64 address_of(const T& object) {
    return reinterpret_cast<u64>(&object);
}

class Hypercalls : public testing::Test {
  protected:
    long mmuext(unsigned command, u64 frame) {
        auto& operation = layer_.argument<mmuext_op_t>();
        operation = {};
        operation.cmd = command;
        operation.arg1.mfn = frame;
        return layer_.hypercall(__HYPERVISOR_mmuext_op, address_of(operation), 1);
    }
    [[nodiscard]] u64& leaf() {
        layer_.map(kProgramAddress, kUser);
        return *page_tables().leaf(layer.page_table, kProgramAddress);
    }

    HostLayer layer_;
};

TEST_F(Hypercalls, UnknownOnesAreAnswered) {
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_grant_table_op), -XEN_ENOSYS);
    EXPECT_EQ(layer_.hypercall(~u64{0}), -XEN_ENOSYS);
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_sched_op, 99), -XEN_ENOSYS);
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_arch_0, 0x99), -XEN_EINVAL);
    EXPECT_THAT(layer_.exits(), IsEmpty());
}

TEST_F(Hypercalls, EntriesAreWrittenAsTheProcessorWouldLeaveThem) {
    auto* const updates = &layer_.argument<mmu_update_t>();
    u32& done = layer_.argument<u32>(1);
    updates[0] = {0x5000 | MMU_NORMAL_PT_UPDATE, 0x7000 | kPresent | kWritable};
    updates[1] = {0x5008 | MMU_PT_UPDATE_PRESERVE_AD, 0x8000 | kPresent | kNoExecute};
    updates[2] = {0x5010, 0x9000};  // not present: the kernel's own bits
    updates[3] = {0x5018 | MMU_MACHPHYS_UPDATE, 1};
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_mmu_update, address_of(*updates), 4, address_of(done)), 0);
    EXPECT_EQ(done, 3U);
    EXPECT_EQ(layer_.entry(0x5000), 0x7000 | kOrdinary);
    EXPECT_EQ(layer_.entry(0x5008), 0x8000 | kPresent | kUser | kAccessed | kNoExecute);
    EXPECT_EQ(layer_.entry(0x5010), 0x9000U);
    EXPECT_EQ(layer_.entry(0x5018), 0U);
    EXPECT_EQ(layer.flush_due, 0U) << "nothing was taken back";
}

TEST_F(Hypercalls, EntriesOutsideMemoryAreRefusedAndTheRestIsNotDone) {
    auto* const updates = &layer_.argument<mmu_update_t>();
    u32& done = layer_.argument<u32>(1);
    for (const u64 bad : {HostLayer::kMemory + UNDERSTUDY_LAYER_BYTES, ~u64{7}, u64{0x5004}}) {
        updates[0] = {0x5000, 0x7000 | kPresent};
        updates[1] = {bad, 0x7000 | kPresent};
        updates[2] = {0x5010, 0x7000 | kPresent};
        EXPECT_EQ(layer_.hypercall(__HYPERVISOR_mmu_update, address_of(*updates), 3, address_of(done)), -XEN_EINVAL);
        EXPECT_EQ(done, 1U);
        EXPECT_EQ(layer_.entry(0x5010), 0U);
    }
}

struct Change {
    const char* what;
    u64 before;
    u64 after;
    bool takes_back;
};

TEST_F(Hypercalls, WhatTakesARightAwayIsFlushedBeforeAProgramRuns) {
    constexpr u64 kFrame = 0x7000;
    for (const Change& change :
         {Change{"mapped anew", 0, kFrame | kOrdinary, false}, Change{"unmapped", kFrame | kOrdinary, 0, true},
          Change{"moved", kFrame | kOrdinary, 0x8000 | kOrdinary, true},
          Change{"write-protected", kFrame | kOrdinary, kFrame | kPresent, true},
          Change{"made writable", kFrame | kPresent | kUser, kFrame | kOrdinary, false},
          Change{"no longer executable", kFrame | kOrdinary, kFrame | kOrdinary | kNoExecute, true},
          Change{"executable", kFrame | kOrdinary | kNoExecute, kFrame | kOrdinary, false},
          Change{"of the kernel's own bits", 0x9000, 0xa000, false}}) {
        leaf() = change.before;
        layer.flush_due = 0;
        EXPECT_EQ(layer_.hypercall(__HYPERVISOR_update_va_mapping, kProgramAddress, change.after), 0) << change.what;
        EXPECT_EQ(layer.flush_due != 0, change.takes_back) << change.what;
        EXPECT_EQ(*page_tables().leaf(layer.page_table, kProgramAddress), normalized(change.after)) << change.what;
    }
    EXPECT_THAT(layer_.exits(), IsEmpty());
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_update_va_mapping, kProgramAddress, 0, UVMF_TLB_FLUSH), 0);
    EXPECT_THAT(layer_.exits(), ElementsAre(PortExit{UNDERSTUDY_PORT_FLUSH_TLB, 0}));
    EXPECT_EQ(layer.flush_due, 0U);
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_update_va_mapping, u64{1} << 40, 0), -XEN_EINVAL) << "no table there";
}

TEST_F(Hypercalls, ANewTableHasTheLayerInItAndIsLoaded) {
    constexpr u64 kFrame = 0x33;
    EXPECT_EQ(mmuext(MMUEXT_NEW_BASEPTR, kFrame), 0);
    EXPECT_EQ(layer.page_table, kFrame * kPageBytes);
    EXPECT_EQ(layer_.entry(kFrame * kPageBytes + UNDERSTUDY_PML4_SLOT * sizeof(u64)),
              (HostLayer::kMemory + UNDERSTUDY_TABLES_OFFSET) | kOrdinary);
    EXPECT_THAT(layer_.exits(), ElementsAre(PortExit{UNDERSTUDY_PORT_PAGE_TABLE, kFrame}));
}

TEST_F(Hypercalls, PinnedTreesAreNormalizedWhole) {
    layer_.map(kProgramAddress, kWritable);
    layer_.map(kProgramAddress + 0x5000, 0);
    layer_.map(0x1000, kWritable);
    EXPECT_EQ(mmuext(MMUEXT_PIN_L4_TABLE, HostLayer::kRoot / kPageBytes), 0);
    const PageTables tables = page_tables();
    EXPECT_EQ(*tables.leaf(HostLayer::kRoot, kProgramAddress), kOrdinary);
    EXPECT_EQ(*tables.leaf(HostLayer::kRoot, kProgramAddress + 0x5000), kPresent | kUser | kAccessed);
    EXPECT_EQ(*tables.leaf(HostLayer::kRoot, 0x1000), kOrdinary);
    EXPECT_EQ(*tables.leaf(HostLayer::kRoot, 0x2000), 0U);
    EXPECT_EQ(mmuext(MMUEXT_PIN_L4_TABLE, ~u64{0} >> 12), 0) << "a table outside memory is none";
}

TEST_F(Hypercalls, ABatchStopsAtItsFirstError) {
    auto* const operations = &layer_.argument<mmuext_op_t>();
    operations[0] = {.cmd = MMUEXT_UNPIN_TABLE, .arg1 = {}, .arg2 = {}};
    operations[1] = {.cmd = 99, .arg1 = {}, .arg2 = {}};
    operations[2] = {.cmd = MMUEXT_TLB_FLUSH_LOCAL, .arg1 = {}, .arg2 = {}};
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_mmuext_op, address_of(*operations), 3), -XEN_ENOSYS);
    EXPECT_THAT(layer_.exits(), IsEmpty());

    auto* const calls = &layer_.argument<multicall_entry_t>(4);
    calls[0] = {};
    calls[0].op = __HYPERVISOR_xen_version;
    calls[0].args[0] = XENVER_version;
    calls[1] = {};
    calls[1].op = 12345;
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_multicall, address_of(*calls), 2), 0);
    EXPECT_EQ(calls[0].result, 4U << 16 | 17U);
    EXPECT_EQ(static_cast<long>(calls[1].result), -XEN_ENOSYS);
}

TEST_F(Hypercalls, EventsArePendingUntilTheyAreUnmasked) {
    shared_info_t& shared = shared_info();
    auto& bind = layer_.argument<evtchn_bind_virq_t>();
    bind = {.virq = VIRQ_TIMER, .vcpu = 0, .port = 0};
    ASSERT_EQ(layer_.hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, address_of(bind)), 0);
    const u32 port = bind.port;
    EXPECT_GE(port, static_cast<u32>(UNDERSTUDY_EVENT_PORT + UNDERSTUDY_EVENTS));
    shared.evtchn_mask[port / 64] = u64{1} << (port % 64);
    vcpu_info->evtchn_upcall_mask = 0;
    auto& send = layer_.argument<evtchn_send_t>(1);
    send.port = port;
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, address_of(send)), 0);
    EXPECT_EQ(upcall_due, 0U);
    EXPECT_NE(shared.evtchn_pending[port / 64] & u64{1} << (port % 64), 0U);
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_unmask, address_of(send)), 0);
    EXPECT_EQ(upcall_due, 1U);
    EXPECT_NE(vcpu_info->evtchn_pending_sel & u64{1} << (port / 64), 0U);
    send.port = ~0U;
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_unmask, address_of(send)), -XEN_EINVAL);
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, address_of(send)), 0);
}

TEST_F(Hypercalls, PortsRunOut) {
    auto& bind = layer_.argument<evtchn_bind_ipi_t>();
    long result = 0;
    for (int i = 0; i < 1000 && result == 0; ++i) {
        result = layer_.hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, address_of(bind));
    }
    EXPECT_EQ(result, -XEN_ENOSPC);
}

TEST_F(Hypercalls, TheVcpusPageStaysInMemory) {
    auto& place = layer_.argument<vcpu_register_vcpu_info_t>();
    vcpu_info_t* const before = vcpu_info;
    for (const auto& [frame, offset] :
         {std::pair{HostLayer::kMemory / kPageBytes, 0U}, std::pair{HostLayer::kMemory / kPageBytes - 1, 4090U},
          std::pair{(u64{1} << 52) - 1, 4095U}, std::pair{(u64{1} << 52) - 1, 4096U - 8}, std::pair{u64{0x300}, 3U}}) {
        place = {.mfn = frame, .offset = offset, .rsvd = 0};
        EXPECT_EQ(layer_.hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, address_of(place)), -XEN_EINVAL)
            << frame << ", " << offset;
        EXPECT_EQ(vcpu_info, before);
    }
    place = {.mfn = 0x300, .offset = 64, .rsvd = 0};
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, address_of(place)), 0);
    EXPECT_EQ(reinterpret_cast<u8*>(vcpu_info), physical(0x300040));
    EXPECT_EQ(vcpu_info->evtchn_upcall_pending, 1) << "what was raised before shows in the new place";
}

TEST_F(Hypercalls, TextThatDoesNotFitIsFlushed) {
    const std::vector<u8> text(UNDERSTUDY_CONSOLE_BYTES + 3, 'x');
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, UNDERSTUDY_CONSOLE_BYTES,
                               reinterpret_cast<u64>(text.data())),
              UNDERSTUDY_CONSOLE_BYTES);
    EXPECT_THAT(layer_.exits(), IsEmpty());
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, 1, reinterpret_cast<u64>(text.data())), 1);
    EXPECT_THAT(layer_.exits(), ElementsAre(PortExit{UNDERSTUDY_PORT_FLUSH, 0}));
    EXPECT_EQ(layer.console.produced, UNDERSTUDY_CONSOLE_BYTES + 1U);
}

TEST_F(Hypercalls, TellLinuxWhatThisIs) {
    auto& features = layer_.argument<xen_feature_info_t>();
    features = {};
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_xen_version, XENVER_get_features, address_of(features)), 0);
    EXPECT_NE(features.submap & 1U << XENFEAT_writable_page_tables, 0U);
    features.submap_idx = 1;
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_xen_version, XENVER_get_features, address_of(features)), 0);
    EXPECT_EQ(features.submap, 0U);
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_memory_op, XENMEM_maximum_ram_page),
              static_cast<long>(HostLayer::kMemory / kPageBytes));
    EXPECT_EQ(layer_.hypercall(__HYPERVISOR_memory_op, XENMEM_memory_map), -XEN_ENOSYS);
}

}  // namespace
}  // namespace understudy::pv
