// A gateway on a thread of the test, with a Unix socket for replicas and forwarded ports that were free a moment ago.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/gateway.hpp"

namespace understudy::network::testing {

inline std::uint16_t free_port(int type = SOCK_STREAM) {
    const FileDescriptor fd(::socket(AF_INET, type, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    return ntohs(address.sin_port);
}

class RunningGateway {
  public:
    explicit RunningGateway(UserNetworkConfig network = {}, bool with_tcp = false,
                            std::chrono::milliseconds rank_memory = GatewayConfig{}.rank_memory,
                            std::shared_ptr<tls::Context> tls = nullptr)
        : path_(std::filesystem::temp_directory_path() / ("gateway-test-" + std::to_string(::getpid()))),
          stop_(::eventfd(0, EFD_CLOEXEC)) {
        GatewayConfig config;
        config.listen = {"unix:" + path_.string()};
        if (with_tcp) {
            config.listen.emplace_back("127.0.0.1:0");
        }
        config.network = std::move(network);
        config.rank_memory = rank_memory;
        config.capture = capture_.string();
        config.tls = std::move(tls);
        gateway_.emplace(std::move(config), [this](const GatewayEvent& event) {
            const std::scoped_lock lock(going_on_, mutex_);
            events_.push_back(event);
            changed_.notify_all();
        });
        thread_ = std::thread([this] { gateway_->run(stop_.get()); });
    }
    ~RunningGateway() {
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
        thread_.join();
        gateway_.reset();
        if (::testing::Test::HasFailure()) {
            std::cout << "the frames between gateway and guest are in " << capture_.string() << '\n';
        } else {
            std::filesystem::remove(capture_);
            std::filesystem::remove(capture_.string() + ".1");
        }
    }
    RunningGateway(const RunningGateway&) = delete;
    RunningGateway& operator=(const RunningGateway&) = delete;

    [[nodiscard]] std::string endpoint(std::size_t which = 0) {
        std::size_t seen = 0;
        return wait_for([&](const GatewayEvent& event) {
                   return event.kind == GatewayEvent::Kind::listening && seen++ == which;
               })
            .detail;
    }

    // While the test has it the gateway stands still at its next event.
    [[nodiscard]] std::unique_lock<std::mutex> hold() { return std::unique_lock(going_on_); }

    // The first event, past or future, that `wanted` accepts.
    GatewayEvent wait_for(const std::function<bool(const GatewayEvent&)>& wanted) {
        std::unique_lock lock(mutex_);
        for (std::size_t next = 0;; ++next) {
            changed_.wait(lock, [&] { return next < events_.size(); });
            if (wanted(events_[next])) {
                return events_[next];
            }
        }
    }
    // Of the events so far.
    [[nodiscard]] std::size_t count(GatewayEvent::Kind kind) {
        const std::scoped_lock lock(mutex_);
        return static_cast<std::size_t>(std::ranges::count(events_, kind, &GatewayEvent::kind));
    }
    [[nodiscard]] GatewayEvent last(GatewayEvent::Kind kind) {
        const std::scoped_lock lock(mutex_);
        return *std::ranges::find(events_.rbegin(), events_.rend(), kind, &GatewayEvent::kind);
    }
    GatewayEvent wait_for_attached(std::uint64_t generation) {
        return wait_for([generation](const GatewayEvent& event) {
            return event.kind == GatewayEvent::Kind::attached && event.rank.generation.value == generation;
        });
    }
    GatewayEvent wait_for_detached(std::uint64_t generation) {
        return wait_for([generation](const GatewayEvent& event) {
            return event.kind == GatewayEvent::Kind::detached && event.rank.generation.value == generation;
        });
    }

  private:
    std::filesystem::path path_;
    std::filesystem::path capture_ = path_.string() + ".pcap";
    FileDescriptor stop_;
    std::mutex going_on_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<GatewayEvent> events_;
    std::optional<Gateway> gateway_;
    std::thread thread_;
};

}  // namespace understudy::network::testing
