// kv: a server of the Redis protocol, in memory, on one thread.
#include <cstdio>

#include "guest/programs/kv/server.hpp"
#include "guest/programs/net/options.hpp"

int main(int argc, char** argv) {
    using understudy::programs::Options;
    return understudy::programs::run_program("kv", [&] {
        understudy::kv::Settings settings;
        Options options("kv",
                        "serves the Redis protocol (RESP2) from memory: redis-cli and redis-benchmark speak to it",
                        "kv --port 6379 --max-memory 256M");
        options.port(settings.port)
            .size("--max-memory", "refuse writes beyond this much memory", settings.max_memory)
            .size("--max-value", "longest value or argument", settings.max_value)
            .number("--max-clients", "most connections at a time", settings.max_clients, 1, 60000);
        if (!options.parse(argc, argv)) {
            return 0;
        }
        understudy::programs::ignore_broken_pipes();
        understudy::kv::Server server(settings);
        std::printf("kv: ready on port %u\n", unsigned{settings.port});
        std::fflush(stdout);
        server.run();
        return 0;
    });
}
