"""The catalogue over HTTP."""

from fastapi.testclient import TestClient


def test_frameworks_are_listed_with_tasks_models_and_parameters(client: TestClient) -> None:
    listed = client.get("/api/v1/frameworks").json()
    assert listed["problems"] == []
    [ultralytics] = [item for item in listed["items"] if item["name"] == "ultralytics"]
    detection = ultralytics["tasks"]["object_detection"]
    assert "yolo11n" in [model["name"] for model in detection["models"]]
    assert detection["defaults"]["epochs"] >= 1
    assert ultralytics["hyperparameters"]["type"] == "object"
    assert client.get("/api/v1/frameworks/ultralytics").json() == ultralytics


def test_framework_is_not_found_if_nobody_offers_it(client: TestClient) -> None:
    answer = client.get("/api/v1/frameworks/darknet")
    assert answer.status_code == 404
    assert "known are timm, ultralytics" in answer.json()["error"]["message"]
