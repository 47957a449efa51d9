#include "logging_channel/state_codec.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "logging_channel/record.pb.h"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

using testing::Sampler;
using Chunks = std::vector<std::vector<std::byte>>;

// 300 pages: some noise, some repeated bytes, most zero.
std::vector<std::byte> sample_memory(std::uint64_t seed) {
    Sampler sampler(seed);
    std::vector<std::byte> memory(300 * kPageBytes);
    for (const std::size_t page : {0U, 1U, 2U, 17U, 299U}) {
        std::ranges::copy(sampler.noise(kPageBytes), memory.begin() + static_cast<std::ptrdiff_t>(page * kPageBytes));
    }
    std::fill_n(memory.begin() + 100 * kPageBytes, 130 * kPageBytes, std::byte{7});
    memory[50 * kPageBytes - 1] = std::byte{1};
    return memory;
}

Chunks encode(std::span<const std::byte> memory, std::vector<std::byte> vcpu, int compression) {
    StateEncoder encoder(std::make_unique<QuietMemory>(memory), std::move(vcpu), compression);
    Chunks chunks;
    for (std::vector<std::byte> chunk; encoder.next(chunk); chunk.clear()) {
        if (!chunk.empty()) {
            chunks.push_back(chunk);
        }
    }
    EXPECT_EQ(encoder.progress().done, encoder.progress().total);
    return chunks;
}

std::size_t total(const Chunks& chunks) {
    std::size_t size = 0;
    for (const auto& chunk : chunks) {
        size += chunk.size();
    }
    return size;
}

TEST(StateCodec, MemoryAndVcpuComeBack) {
    for (const int compression : {0, 1, 9}) {
        const auto memory = sample_memory(1);
        const auto vcpu = Sampler(2).noise(5000);
        const Chunks chunks = encode(memory, vcpu, compression);
        std::vector<std::byte> copy(memory.size());
        StateDecoder decoder(copy);
        for (const auto& chunk : chunks) {
            ASSERT_FALSE(decoder.complete());
            ASSERT_LE(chunk.size(), kMaxChunkBytes);
            ASSERT_TRUE(decoder.accept(chunk)) << describe(decoder.fault());
        }
        EXPECT_TRUE(decoder.complete());
        EXPECT_EQ(copy, memory);
        EXPECT_EQ(decoder.vcpu_state(), vcpu);
        EXPECT_EQ(decoder.progress().done, decoder.progress().total);
    }
}

TEST(StateCodec, ZeroPagesCostNothing) {
    const std::vector<std::byte> zero(4096 * kPageBytes);
    EXPECT_LT(total(encode(zero, {}, 0)), 64U);
    const auto memory = sample_memory(1);
    EXPECT_LT(total(encode(memory, {}, 0)), 137 * kPageBytes);
    EXPECT_LT(total(encode(memory, {}, 1)), 7 * kPageBytes);
}

TEST(StateCodec, EveryLostDoubledOrDamagedChunkShows) {
    const auto memory = sample_memory(3);
    const Chunks good = encode(memory, Sampler(4).noise(100), 1);
    const auto survives = [&](const Chunks& chunks) {
        std::vector<std::byte> copy(memory.size());
        StateDecoder decoder(copy);
        for (const auto& chunk : chunks) {
            if (!decoder.accept(chunk)) {
                return false;
            }
        }
        return decoder.complete();
    };
    ASSERT_TRUE(survives(good));
    for (std::size_t i = 0; i < good.size(); ++i) {
        const auto at = static_cast<std::ptrdiff_t>(i);
        Chunks lost = good;
        lost.erase(lost.begin() + at);
        EXPECT_FALSE(survives(lost)) << i;
        Chunks doubled = good;
        doubled.insert(doubled.begin() + at, good[i]);
        EXPECT_FALSE(survives(doubled)) << i;
        Chunks damaged = good;
        damaged[i][good[i].size() / 2] ^= std::byte{1};
        EXPECT_FALSE(survives(damaged)) << i;
    }
}

StateFault fault_of(const wire::PageRun& run) {
    std::vector<std::byte> memory(10 * kPageBytes);
    StateDecoder decoder(memory);
    wire::StateChunk chunk;
    *chunk.mutable_pages() = run;
    EXPECT_FALSE(decoder.accept(testing::bytes_of(chunk.SerializeAsString())));
    return decoder.fault();
}

TEST(StateCodec, RunsOutsideTheMemoryAreRefused) {
    wire::PageRun run;
    run.set_first(9);
    run.set_count(2);
    run.set_data(std::string(2 * kPageBytes, 'x'));
    EXPECT_EQ(fault_of(run), StateFault::bad_run);
    run.set_first(~0ULL);
    EXPECT_EQ(fault_of(run), StateFault::bad_run);
    run.set_first(0);
    run.set_count(0x80000000);
    EXPECT_EQ(fault_of(run), StateFault::bad_run);
    run.set_count(3);
    EXPECT_EQ(fault_of(run), StateFault::bad_run);
    run.set_count(2);
    run.set_zstd(true);
    EXPECT_EQ(fault_of(run), StateFault::bad_compression);
}

}  // namespace
}  // namespace understudy::channel
