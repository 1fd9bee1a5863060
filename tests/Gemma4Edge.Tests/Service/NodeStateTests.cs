using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

public class NodeStateTests
{
    /// <summary>The first is on its way to the one who answers it, whether that thread has woken up yet or not.</summary>
    [Fact]
    public void Queue_CountsThoseThatWaitForAnother()
    {
        var state = new NodeState(new ServiceOptions { Model = new ModelOptions { Path = "none" } }, SamplingOptions.Greedy, [], new NodeInfo { Model = "none", Context = 1024 });
        Assert.Equal((false, 0), Shown());
        state.RequestAccepted();
        Assert.Equal((true, 0), Shown());
        state.RequestAccepted();
        Assert.Equal((true, 1), Shown());
        state.RequestEnded("first", null);
        Assert.Equal((true, 0), Shown());
        state.RequestEnded("second", null);
        Assert.Equal((false, 0), Shown());

        (bool Busy, int Queue) Shown()
        {
            using JsonDocument shown = JsonDocument.Parse(state.ToPayload());
            return (shown.RootElement.GetProperty("busy").GetBoolean(), shown.RootElement.GetProperty("queue").GetInt32());
        }
    }
}
