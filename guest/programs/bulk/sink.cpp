// sink: takes whatever it is sent, and says how much that was.
#include <cstdio>
#include <string>
#include <vector>

#include "guest/programs/bulk/pattern.hpp"
#include "guest/programs/net/options.hpp"
#include "guest/programs/net/serve.hpp"

namespace understudy::programs {
namespace {

struct Sink {
    explicit Sink(EventLoop& the_loop) : loop(the_loop) {}

    EventLoop& loop;
    bool verify = false;
    Pattern pattern;
    std::vector<char> buffer = std::vector<char>(std::size_t{256} << 10);
};

class SinkConnection final : public Connection {
  public:
    SinkConnection(Connections& all, FileDescriptor socket, Sink& sink)
        : Connection(all, std::move(socket)), sink_(sink), started_(sink.loop.now()) {}

    void ready(Readiness readiness) override {
        if (!readiness.readable) {
            return;
        }
        const auto result = read_some(socket(), sink_.buffer);
        const std::string_view bytes(sink_.buffer.data(), result.bytes);
        if (sink_.verify && intact_ && !sink_.pattern.matches(received_, bytes)) {
            intact_ = false;
        }
        received_ += result.bytes;
        if (result.status == IoStatus::kEnded || result.status == IoStatus::kFailed) {
            report();
            close();
        }
    }

  private:
    // To the sender too, which has only closed its own direction: it learns that everything has arrived.
    void report() {
        const double seconds = std::chrono::duration<double>(sink_.loop.now() - started_).count();
        const double rate = seconds > 0 ? static_cast<double>(received_) / 1e6 / seconds : 0;
        const char* verdict = !sink_.verify ? "" : intact_ ? " intact" : " CORRUPT";
        char line[160];
        const int length = std::snprintf(line, sizeof line, "received %llu bytes in %.3f s, %.1f MB/s%s\n",
                                         static_cast<unsigned long long>(received_), seconds, rate, verdict);
        write_some(socket(), {line, static_cast<std::size_t>(length)});
        std::fputs(line, stdout);
        std::fflush(stdout);
    }

    Sink& sink_;
    Time started_;
    std::uint64_t received_ = 0;
    bool intact_ = true;
};

int run(int argc, char** argv) {
    std::uint16_t port = 7008;
    EventLoop loop;
    Sink sink(loop);
    Options options("sink", "takes what it is sent and, when the sender is done, says how much that was",
                    "sink --port 7008 --verify");
    options.port(port).flag("--verify", "check that the bytes are those that source sends", sink.verify);
    if (!options.parse(argc, argv)) {
        return 0;
    }
    serve<SinkConnection>("sink", loop, port, sink);
}

}  // namespace
}  // namespace understudy::programs

int main(int argc, char** argv) {
    return understudy::programs::run_program("sink", [&] { return understudy::programs::run(argc, argv); });
}
