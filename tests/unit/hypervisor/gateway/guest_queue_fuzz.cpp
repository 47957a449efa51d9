// Any bytes as a history of a guest's queue: frames to and from the guest, partial writes, deaths of replicas. The
// queue stays within its limits, gives out whole messages in order, and comes to an end.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "hypervisor/gateway/guest_queue.hpp"
#include "hypervisor/gateway/protocol.hpp"

namespace {

using namespace understudy::network;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const GuestQueue::Limits limits{.bytes = 4096, .frames = 20, .keep = std::chrono::milliseconds(100)};
    GuestQueue queue(limits);
    MessageDecoder replica(65536);
    GuestQueue::Clock::time_point now{};
    std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    std::array<iovec, 4> parts;
    while (bytes.size() >= 2) {
        const auto what = static_cast<unsigned>(bytes[0]) % 4;
        const auto amount = static_cast<std::size_t>(bytes[1]);
        bytes = bytes.subspan(2);
        if (what <= 1) {
            const auto frame = bytes.first(std::min(bytes.size(), std::max(amount, understudy::kMinFrameBytes)));
            bytes = bytes.subspan(frame.size());
            if (what == 1) {
                queue.heard(frame);
            } else if (understudy::is_wire_frame_size(frame.size())) {
                queue.push(frame);
            }
        } else if (what == 2) {
            // The replica's socket takes `amount` bytes.
            const auto count = queue.gather(parts);
            std::size_t taken = 0;
            for (std::size_t i = 0; i < count && taken < amount; ++i) {
                const std::span part(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len);
                const auto now_taken = part.first(std::min(part.size(), amount - taken));
                std::ranges::copy(now_taken, replica.space().begin());
                replica.committed(now_taken.size());
                taken += now_taken.size();
            }
            queue.sent(taken, now);
            auto next = replica.next();
            for (; next.status == MessageDecoder::Status::message; next = replica.next()) {
                require(next.kind == MessageKind::frame);
            }
            require(next.status == MessageDecoder::Status::need_more);
        } else {
            now += std::chrono::milliseconds(amount);
            queue.start_over(now);
            replica = MessageDecoder(65536);
        }
        require(queue.bytes() <= limits.bytes && queue.frames() <= limits.frames);
    }
    now += limits.keep * 2;
    queue.start_over(now);
    for (std::size_t rounds = 0; !queue.all_sent(); ++rounds) {
        require(rounds <= limits.frames);
        const auto count = queue.gather(parts);
        std::size_t all = 0;
        for (std::size_t i = 0; i < count; ++i) {
            all += parts[i].iov_len;
        }
        queue.sent(all, now);
    }
    queue.start_over(now + limits.keep * 2);
    require(queue.frames() == 0 && queue.bytes() == 0);
    return 0;
}
