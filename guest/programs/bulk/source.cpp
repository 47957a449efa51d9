// source: sends a checkable stream to everyone who connects.
#include <array>
#include <limits>

#include "guest/programs/bulk/pattern.hpp"
#include "guest/programs/net/options.hpp"
#include "guest/programs/net/serve.hpp"

namespace understudy::programs {
namespace {

class SourceConnection final : public Connection {
  public:
    SourceConnection(Connections& all, FileDescriptor socket, const Pattern& pattern, std::uint64_t bytes)
        : Connection(all, std::move(socket)), pattern_(pattern), bytes_(bytes) {
        watch({.readable = true, .writable = true});
    }

    void ready(Readiness readiness) override {
        if (readiness.readable && is_gone()) {
            close();
            return;
        }
        // Bounded, so that one fast reader leaves time for the others.
        constexpr int kAtOnce = 16;
        for (int i = 0; readiness.writable && i < kAtOnce && sent_ < bytes_; ++i) {
            const auto result = write_some(socket(), pattern_.at(sent_, bytes_ - sent_));
            if (result.status == IoStatus::kFailed) {
                close();
                return;
            }
            if (result.status != IoStatus::kDone) {
                break;
            }
            sent_ += result.bytes;
        }
        if (sent_ == bytes_) {
            close();
            return;
        }
        watch({.readable = !input_ended_, .writable = true});
    }

  private:
    // What the receiver says is of no interest, but for its end.
    bool is_gone() {
        std::array<char, 4096> ignored;
        const auto result = read_some(socket(), ignored);
        input_ended_ = input_ended_ || result.status == IoStatus::kEnded;
        return result.status == IoStatus::kFailed;
    }

    const Pattern& pattern_;
    std::uint64_t bytes_;
    std::uint64_t sent_ = 0;
    bool input_ended_ = false;
};

int run(int argc, char** argv) {
    std::uint16_t port = 7009;
    std::uint64_t bytes = 0;
    Options options("source", "sends to everyone who connects: the byte at position p is p modulo 251",
                    "source --port 7009 --bytes 1G");
    options.port(port).size("--bytes", "how much each connection gets; 0: without end", bytes);
    if (!options.parse(argc, argv)) {
        return 0;
    }
    const Pattern pattern;
    const std::uint64_t each = bytes == 0 ? std::numeric_limits<std::uint64_t>::max() : bytes;
    EventLoop loop;
    serve<SourceConnection>("source", loop, port, pattern, each);
}

}  // namespace
}  // namespace understudy::programs

int main(int argc, char** argv) {
    return understudy::programs::run_program("source", [&] { return understudy::programs::run(argc, argv); });
}
