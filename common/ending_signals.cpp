#include "common/ending_signals.hpp"

#include <csignal>

namespace understudy {

std::vector<int> ending_signals() {
    std::vector<int> signals{SIGINT, SIGTERM};
    struct sigaction hangup {};
    if (::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
        signals.push_back(SIGHUP);
    }
    return signals;
}

}  // namespace understudy
