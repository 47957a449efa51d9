// The I/O thread's side of a guest that lives: frames from its link and what is typed into the input queue, released
// outputs to link and console, and the kick that makes a busy guest look at what waits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/network/link.hpp"
#include "hypervisor/replication/loop/console.hpp"
#include "hypervisor/replication/loop/input_queue.hpp"

namespace understudy::replication {

// Everything is called on the io_context's thread.
class LiveIo {
  public:
    struct Handlers {
        // Frames, or what was typed, have waited for a while: kick the vCPU if the guest runs.
        std::function<void()> kick_if_running;
        // What the guest printed; may end within a line.
        std::function<void(std::string_view text)> print;
        // See Console::Handlers.
        std::function<void()> escaped;
        std::function<void(const std::string& line)> warn;
    };
    LiveIo(boost::asio::io_context& io, InputQueue& queue, const network::LinkConfig& link,
           const ConsoleConfig& console, Handlers handlers);
    ~LiveIo();
    LiveIo(const LiveIo&) = delete;
    LiveIo& operator=(const LiveIo&) = delete;

    // See network::Link::stand_by.
    void stand_by();
    // See network::Link::speak. The console opens with the first call.
    void speak(SpeakerRank rank);
    // Sends the frames among the outputs and prints the console text.
    void release(const std::vector<Output>& outputs);
    // See network::Link::passage.
    [[nodiscard]] Passage passage() const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::replication
