#include "guest/kernel/net/interface.hpp"
namespace understudy::kernel::net {
void initialize(){}
void process(){}
Nanoseconds next_deadline(){return kNever;}
bool all_sent(){return true;}
}
