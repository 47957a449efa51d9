// The server: connections on an event loop, commands on a store.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/request_parser.hpp"
#include "guest/programs/net/event_loop.hpp"
#include "guest/programs/net/listener.hpp"

namespace understudy::kv {

class Connection;

class Server {
  public:
    explicit Server(const Settings& settings);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Serves until SHUTDOWN.
    void run();

  private:
    friend class Connection;

    void accept(programs::FileDescriptor socket);
    void close(Connection& connection);

    Settings settings_;
    RequestLimits limits_;
    CommandTable table_;
    Store store_;
    Statistics statistics_;
    bool shutdown_ = false;
    programs::EventLoop loop_;
    programs::Listener listener_;
    std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
    std::vector<std::unique_ptr<Connection>> closed_;       // until the end of the dispatch that closed them
    std::vector<char> scratch_;                             // what one read brings
};

}  // namespace understudy::kv
